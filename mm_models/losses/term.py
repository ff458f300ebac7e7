"""A loss or metric before it is reduced."""

from typing import NamedTuple

import tensorflow as tf


class Term(NamedTuple):
    """A quantity before reduction: over all replicas, sum(sum) / sum(weight) counts.

    Attributes:
        sum: float32[] sum over this replica's examples.
        weight: float32[] how many examples (or tokens) the sum covers.
    """

    sum: tf.Tensor
    weight: tf.Tensor
