"""How the loss of one replica's batch becomes gradients."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from mm_models.losses.term import Term
from trainers import distribution
from trainers.tasks.terms import Batch, Gather, StepTerms

Forward = Callable[[Batch, tf.Tensor], Any]


class Differentiable(Protocol):
    """What a rule asks of a task, which is a `trainers.tasks.base.Task`."""

    @abc.abstractmethod
    def encode(
        self, model: keras.Model, batch: Batch, *, stream: str, training: bool, seed: tf.Tensor
    ) -> Any:
        """Replica-local forward pass; `seed: int32[2]` is a function of (seed, step, replica)."""

    @abc.abstractmethod
    def terms(
        self,
        model: keras.Model,
        outputs: Any,
        batch: Batch,
        *,
        stream: str,
        training: bool,
        gather: Gather,
    ) -> StepTerms:
        """Loss and metrics of one replica's outputs against the global batch."""


class GradientRule(abc.ABC):
    """What a train step differentiates, in two parts.

    `forward` is local to a replica and always compiles; `gradients` runs what follows, collectives
    included, and the way back.
    """

    def __init__(
        self,
        task: Differentiable,
        model: keras.Model,
        variables: Sequence[keras.Variable],
        *,
        stream: str,
        mean: bool,
    ):
        """Takes the arguments of `Task.gradient_rule`."""
        self.task, self.model, self.variables = task, model, list(variables)
        self.stream, self.mean = stream, mean

    @abc.abstractmethod
    def forward(self, batch: Batch, seed: tf.Tensor) -> Any:
        """The encoders' pass over one replica's batch; `seed: int32[2]`."""

    @abc.abstractmethod
    def gradients(
        self, forward: Forward, batch: Batch, seed: tf.Tensor, step: tf.Tensor
    ) -> tuple[StepTerms, list[tf.Tensor | None]]:
        """Terms of one replica, and its part of each variable's gradient.

        Args:
            forward: `self.forward`, perhaps compiled.
            batch: one replica's batch.
            seed: int32[2], a function of (seed, step, replica).
            step: int64[] steps done.

        Returns:
            Parts that summed over the replicas are the gradients; None for a variable that the loss
            does not depend on.
        """

    def terms(self, outputs: Any, batch: Batch) -> StepTerms:
        """The task's terms in training, against the global batch."""
        return self.task.terms(
            self.model,
            outputs,
            batch,
            stream=self.stream,
            training=True,
            gather=distribution.gather,
        )

    def scale(self, loss: Term) -> tf.Tensor:
        """float32[] what every part of the loss is multiplied by before it is differentiated."""
        if not self.mean:
            return tf.ones([])
        return tf.math.divide_no_nan(1.0, distribution.sum_over_replicas(loss.weight))


class PlainGradients(GradientRule):
    """The gradients of the loss as it is."""

    def forward(self, batch: Batch, seed: tf.Tensor) -> Any:
        return self.task.encode(self.model, batch, stream=self.stream, training=True, seed=seed)

    def gradients(self, forward, batch, seed, step):
        values = [variable.value for variable in self.variables]
        # Watched by name: the way back through frozen parts would be traced and then thrown away.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            terms = self.terms(forward(batch, seed), batch)
            loss = tf.cast(terms.loss.sum, tf.float32) * self.scale(terms.loss)
        return terms, tape.gradient(loss, values)
