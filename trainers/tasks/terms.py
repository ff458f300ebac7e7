"""What a step yields, before it is reduced over replicas."""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from mm_models.losses.term import Term

Batch = Mapping[str, tf.Tensor]
Gather = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class StepTerms:
    """What a step yields.

    Attributes:
        loss: the term whose global mean is differentiated.
        metrics: further terms by name, averaged over replicas and steps, such as `vidtxt_loss`.
        rows: float32[batch] by name of an objective, each row's part of the loss; together they add
            up to `loss.sum`. Tasks whose gradients are treated by objective or row give them.
    """

    loss: Term
    metrics: dict[str, Term]
    rows: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
