"""One optimizer update, compiled once: what steps on one stream and on all of them share."""

import abc
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mm_models.errors import UserError
from trainers import distribution
from trainers.config.schema import TrainerConfig
from trainers.model_parallel.splitting import split_activations
from trainers.optimization.averages import Averages
from trainers.optimization.optimizers import NamedOptimizer
from trainers.tasks.base import Task
from trainers.tasks.terms import Batch


@dataclasses.dataclass(frozen=True)
class StepParts:
    """What every step of an experiment works with.

    Attributes:
        task, model: what is learned.
        optimizers: by name.
        averages: or None.
        step: int64[] global step.
        strategy: where replicas live.
        trainer: settings.
        jit_compile: compile with XLA.
        model_parallel: devices of each replica.
    """

    task: Task
    model: keras.Model
    optimizers: Mapping[str, NamedOptimizer]
    averages: Averages | None
    step: tf.Variable
    strategy: tf.distribute.Strategy
    trainer: TrainerConfig
    jit_compile: bool
    model_parallel: int = 1

    @property
    def is_single(self) -> bool:
        """Whether there is one device and no replica context to enter."""
        return distribution.is_single(self.strategy)


class CompiledStep(abc.ABC):
    """One optimizer update on a batch of each of its streams.

    With one device the whole step is one compiled function. With several replicas the encoders
    compile, forward and backward, and collectives and update stay outside, where every platform has
    kernels for them.

    Attributes:
        streams: names of the streams, in the order of the batches.
        function: the step as a tf.function, with nothing checked.
    """

    def __init__(self, streams: tuple[str, ...], parts: StepParts):
        """Wires the parts; nothing is traced before the first call."""
        self.streams, self.parts = streams, parts
        jit = parts.jit_compile and parts.is_single
        # A partial of its own: TensorFlow counts traces by code and would warn of one per stream.
        self.function = tf.function(functools.partial(self.update), jit_compile=jit or None)

    def __call__(self, *batches: Any) -> dict[str, tf.Tensor]:
        """Updates the model.

        Args:
            batches: of each stream, tensors by name, or their per-replica values.

        Returns:
            `term/<name>`: float32[2] global sum and weight of the loss (`term/loss`) and of each
                metric;
            `gradient_norm/<optimizer>`: float32[]; `nonfinite_gradients`: float32[] how many
            entries were replaced (policy `zero`), or 1 when any norm is no number.

        Raises:
            UserError: a batch had another shape than those before.
        """
        outputs = self.function(*batches)
        self.check_traces()
        return outputs

    @property
    def num_traces(self) -> int:
        """How often the step was traced."""
        return self.function.experimental_get_tracing_count()

    def check_traces(self) -> None:
        """Raises UserError when the step was traced again, which slows every step down."""
        if self.num_traces > 1:
            raise UserError(
                f"stream {' + '.join(self.streams)}: a batch had another shape or type than those "
                "before, so that its step was compiled again; give every batch of a stream one "
                "shape, or make another stream of it"
            )

    @abc.abstractmethod
    def reduced(self, *batches: Batch) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Outputs named as those of `__call__`, and gradients by variable path; in replica context.

        Both are already summed over the replicas.
        """

    def update(self, *batches: Any) -> dict[str, tf.Tensor]:
        """What `function` is traced from; arguments and outputs as of `__call__`."""
        strategy = self.parts.strategy
        if self.parts.is_single:
            outputs = self._replica_step(*batches)
        else:
            outputs = strategy.run(self._replica_step, args=batches)
            outputs = {
                name: strategy.experimental_local_results(value)[0]
                for name, value in outputs.items()
            }
        self.parts.step.assign_add(1)
        return outputs

    def _replica_step(self, *batches: Batch) -> dict[str, tf.Tensor]:
        with split_activations(self.parts.model_parallel):
            outputs, gradients = self.reduced(*batches)
        replaced = None
        if self.parts.trainer.nan_gradients == "zero":
            replaced = tf.add_n([_count_nonfinite(value) for value in gradients.values()])
            gradients = {name: _zero_nonfinite(value) for name, value in gradients.items()}
        norms = {name: each.apply(gradients) for name, each in self.parts.optimizers.items()}
        norms = {name: norm for name, norm in norms.items() if norm is not None}
        outputs.update({f"gradient_norm/{name}": norm for name, norm in norms.items()})
        # The norms are there anyway; counting entries would read every gradient once more.
        any_nonfinite = _count_nonfinite(tf.add_n(list(norms.values())))
        outputs["nonfinite_gradients"] = any_nonfinite if replaced is None else replaced
        if self.parts.averages is not None:
            self.parts.averages.update(self.parts.step)
        return outputs


def _count_nonfinite(gradient: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(~tf.math.is_finite(gradient), tf.float32))


def _zero_nonfinite(gradient: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))
