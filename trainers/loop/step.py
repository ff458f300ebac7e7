"""The compiled step of one stream: gradients, reduction over replicas, update, averages."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from mm_models.errors import UserError
from trainers import distribution
from trainers.config import TrainerConfig
from trainers.optimization.averages import Averages
from trainers.optimization.optimizers import NamedOptimizer
from trainers.tasks.base import Task, Term

Batch = Mapping[str, tf.Tensor]


class TrainStep:
    """One optimizer update on one batch of one stream.

    With one device the whole step is one compiled function. With several replicas the encoders
    compile, forward and backward, and collectives and update stay outside, where every platform has
    kernels for them.
    """

    def __init__(
        self,
        stream: str,
        *,
        task: Task,
        model: keras.Model,
        optimizers: Mapping[str, NamedOptimizer],
        averages: Averages | None,
        step: tf.Variable,
        strategy: tf.distribute.Strategy,
        trainer: TrainerConfig,
        accumulation_steps: int,
        jit_compile: bool,
    ):
        """Wires the parts; nothing is traced before the first call."""
        self._stream, self._accumulation_steps = stream, accumulation_steps
        self._optimizers, self._averages, self._step = optimizers, averages, step
        self._strategy, self._trainer = strategy, trainer
        self._single = distribution.is_single(strategy)
        self._variables = [
            variable
            for optimizer in optimizers.values()
            for group in optimizer.groups
            for variable in group.variables
        ]
        # TPUs compile everything that a strategy runs; a second compilation inside is refused.
        on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
        jit_inside = jit_compile and not self._single and not on_tpu
        self._rule = task.gradient_rule(
            model, self._variables, stream=stream, mean=accumulation_steps == 1
        )
        self._forward = self._rule.forward
        if jit_inside:
            self._forward = tf.function(self._forward, jit_compile=True)
        self.function = tf.function(
            self._run, jit_compile=True if jit_compile and self._single else None
        )

    def __call__(self, batch: Any) -> dict[str, tf.Tensor]:
        """Updates the model.

        Args:
            batch: tensors by name, or their per-replica values.

        Returns:
            `term/<name>`: float32[2] global sum and weight of the loss (`term/loss`) and of each
                metric;
            `gradient_norm/<optimizer>`: float32[]; `nonfinite_gradients`: float32[] how many
            entries were replaced (policy `zero`), or 1 when any norm is no number.
        """
        return self.function(batch)

    @property
    def num_traces(self) -> int:
        """How often the step was traced; more than once means that a batch changed its shape."""
        return self.function.experimental_get_tracing_count()

    def _run(self, batch: Any) -> dict[str, tf.Tensor]:
        if self._single:
            outputs = self._replica_step(batch)
        else:
            outputs = self._strategy.run(self._replica_step, args=(batch,))
            outputs = {
                name: self._strategy.experimental_local_results(value)[0]
                for name, value in outputs.items()
            }
        self._step.assign_add(1)
        return outputs

    def _replica_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        terms, gradients = self.reduced_gradients(batch)
        outputs = {f"term/{name}": tf.stack(term) for name, term in terms.items()}
        replaced = None
        if self._trainer.nan_gradients == "zero":
            replaced = tf.add_n([_count_nonfinite(value) for value in gradients.values()])
            gradients = {name: _zero_nonfinite(value) for name, value in gradients.items()}
        norms = {name: each.apply(gradients) for name, each in self._optimizers.items()}
        norms = {name: norm for name, norm in norms.items() if norm is not None}
        outputs.update({f"gradient_norm/{name}": norm for name, norm in norms.items()})
        # The norms are there anyway; counting entries would read every gradient once more.
        any_nonfinite = _count_nonfinite(tf.add_n(list(norms.values())))
        outputs["nonfinite_gradients"] = any_nonfinite if replaced is None else replaced
        if self._averages is not None:
            self._averages.update(self._step)
        return outputs

    def reduced_gradients(self, batch: Batch) -> tuple[dict[str, Term], dict[str, tf.Tensor]]:
        """Global terms and the gradients of the global mean loss by variable path; in replica
        context.

        The loss is the global sum over the global weight, so that the result does not depend on how
        the batch is cut. With accumulation the weight is known only at the end, and the summed
        gradients are divided by it.
        """
        context = tf.distribute.get_replica_context()
        seed = distribution.fold_seed(
            self._trainer.seed, self._step, context.replica_id_in_sync_group
        )
        terms, gradients = self._accumulated(batch, seed)
        names = list(terms)
        packed = tf.stack([value for name in names for value in terms[name]])
        paths = list(gradients)
        reduced = [packed, *gradients.values()]
        if context.num_replicas_in_sync > 1:
            reduced = context.all_reduce(tf.distribute.ReduceOp.SUM, reduced)
        values = tf.unstack(reduced[0])
        terms = {name: Term(*values[2 * i : 2 * i + 2]) for i, name in enumerate(names)}
        gradients = dict(zip(paths, reduced[1:], strict=True))
        if self._accumulation_steps > 1:
            weight = terms["loss"].weight
            gradients = {
                path: tf.math.divide_no_nan(value, tf.cast(weight, value.dtype))
                for path, value in gradients.items()
            }
        return terms, gradients

    def _accumulated(
        self, batch: Batch, seed: tf.Tensor
    ) -> tuple[dict[str, Term], dict[str, tf.Tensor]]:
        """Local sums of terms and gradients over the accumulation parts."""
        count = self._accumulation_steps
        if count == 1:
            return self._local(batch, seed)
        parts = {name: tf.split(value, count) for name, value in batch.items()}
        terms: dict[str, Term] = {}
        gradients: dict[str, tf.Tensor] = {}
        for index in range(count):
            part = {name: values[index] for name, values in parts.items()}
            part_seed = tf.random.experimental.stateless_fold_in(seed, index)
            # One part after the other, or their activations would be alive together.
            with tf.control_dependencies(list(gradients.values())):
                part = {name: tf.identity(value) for name, value in part.items()}
                part_terms, part_gradients = self._local(part, part_seed)
            terms = {
                name: Term(*(terms[name][i] + term[i] for i in (0, 1))) if terms else term
                for name, term in part_terms.items()
            }
            gradients = {
                path: gradients[path] + value if gradients else value
                for path, value in part_gradients.items()
            }
        return terms, gradients

    def _local(
        self, batch: Batch, seed: tf.Tensor, forward: Callable[..., Any] | None = None
    ) -> tuple[dict[str, Term], dict[str, tf.Tensor]]:
        result, gradients = self._rule.gradients(forward or self._forward, batch, seed, self._step)
        if all(gradient is None for gradient in gradients):
            raise UserError(
                f"the loss of stream {self._stream!r} depends on no variable that is trained; look "
                "at its objective and at frozen parameter groups"
            )
        terms = {"loss": result.loss, **result.metrics}
        return (
            {
                name: Term(*(tf.cast(value, tf.float32) for value in term))
                for name, term in terms.items()
            },
            {
                variable.path: tf.convert_to_tensor(gradient)
                for variable, gradient in zip(self._variables, gradients, strict=True)
                if gradient is not None
            },
        )

    def local_gradients(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One replica's forward and backward pass without collectives or update, to count its
        costs."""
        return self._local(batch, tf.zeros([2], tf.int32), self._rule.forward)[1]


def _count_nonfinite(gradient: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(~tf.math.is_finite(gradient), tf.float32))


def _zero_nonfinite(gradient: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))
