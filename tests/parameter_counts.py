"""How many parameters a model has, without allocating any."""

import dataclasses
import math
from collections.abc import Callable

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters.

    Attributes:
        trainable, non_trainable: scalars in weights (batch norm statistics and frozen tables are
            the latter).
        num_variables: weights of either kind.
        by_part: trainable scalars of each of the model's layers, such as a tower or a head.
    """

    trainable: int
    non_trainable: int
    num_variables: int
    by_part: dict[str, int]


def scalars(weights) -> int:
    """Total size of `weights`."""
    return sum(math.prod(weight.shape) for weight in weights)


def count(build: Callable[[], keras.Model]) -> ParameterCounts:
    """Builds a model in a graph that is never run, so that nothing is allocated, and counts."""
    with tf.Graph().as_default():
        model = build()
        return ParameterCounts(
            trainable=scalars(model.trainable_weights),
            non_trainable=scalars(model.non_trainable_weights),
            num_variables=len(model.weights),
            by_part={layer.name: scalars(layer.trainable_weights) for layer in model.layers},
        )
