"""The compiled step of one stream: gradients of its batch, reduced over the replicas."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers import randomness
from mm_models.losses.term import Term
from trainers import distribution
from trainers.loop.steps.compiled_step import CompiledStep, StepParts
from trainers.tasks.terms import Batch


class TrainStep(CompiledStep):
    """One optimizer update on one batch of one stream.

    Attributes:
        stream: its name.
    """

    def __init__(self, stream: str, parts: StepParts, *, accumulation_steps: int):
        """Takes the parts that each replica's batch is cut into; traces nothing."""
        super().__init__((stream,), parts)
        self.stream, self._accumulation_steps = stream, accumulation_steps
        groups = [group for each in parts.optimizers.values() for group in each.groups]
        self._variables = [variable for group in groups for variable in group.variables]
        # TPUs compile everything that a strategy runs; a second compilation inside is refused.
        on_tpu = isinstance(parts.strategy, tf.distribute.TPUStrategy)
        self._rule = parts.task.gradient_rule(
            parts.model, self._variables, stream=stream, mean=accumulation_steps == 1
        )
        self._forward = self._rule.forward
        if parts.jit_compile and not parts.is_single and not on_tpu:
            self._forward = tf.function(self._forward, jit_compile=True)

    def reduced(self, *batches: Batch) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        terms, gradients = self.reduced_gradients(*batches)
        return {f"term/{name}": tf.stack(term) for name, term in terms.items()}, gradients

    def reduced_gradients(self, batch: Batch) -> tuple[dict[str, Term], dict[str, tf.Tensor]]:
        """Global terms and the gradients of the global mean loss by variable path; in replica
        context.

        The loss is the global sum over the global weight, so that the result does not depend on how
        the batch is cut. With accumulation the weight is known only at the end, and the summed
        gradients are divided by it.
        """
        context = tf.distribute.get_replica_context()
        seed = distribution.fold_seed(
            self.parts.trainer.seed, self.parts.step, context.replica_id_in_sync_group
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
            part_seed = randomness.fold_in(seed, index)
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
        result, gradients = self._rule.gradients(
            forward or self._forward, batch, seed, self.parts.step
        )
        if all(gradient is None for gradient in gradients):
            raise UserError(
                f"the loss of stream {self.stream!r} depends on no variable that is trained; look "
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

    def local_gradients(self, batch: Batch) -> tuple[dict[str, Term], dict[str, tf.Tensor]]:
        """One replica's forward and backward pass without collectives or update, to count its
        costs: terms, and gradients by the variable's path."""
        return self._local(batch, tf.zeros([2], tf.int32), self._rule.forward)
