"""A forward pass cut at the last Dense of each stack.

Everything behind is per row and cheap, so that losses can be differentiated by these rows, and the
gradient of that Dense be written down row by row, without a pass through the stack.
"""

from collections.abc import Mapping
from typing import Protocol

import keras
import tensorflow as tf

from mm_models.layers.transformer.block_inputs import OpenRows
from mm_models.layers.transformer.stack import StackRunner, run_stack
from trainers.config.schema import StreamConfig
from trainers.optimization.gradient_rules import Differentiable
from trainers.tasks.terms import Batch


class Harmonizable(Differentiable, Protocol):
    """What is asked of a task beyond what every rule does.

    Attributes:
        streams: by name.
    """

    streams: Mapping[str, StreamConfig]

    def encode(
        self,
        model: keras.Model,
        batch: Batch,
        *,
        stream: str,
        training: bool,
        seed: tf.Tensor | None,
        run_stack: StackRunner = run_stack,
    ) -> dict[str, tf.Tensor]:
        """Pooled rows by modality, float[batch, (rows,) dim]: `encode`, which runs one stack for
        each, in their order and for row 0 alone, by `run_stack`. `terms` gives `rows` of them."""


class StackCut:
    """The two parts of a task's `encode`."""

    def __init__(self, task: Harmonizable, model: keras.Model, stream: str):
        """Takes the task, its model, and the stream whose batches come."""
        self._task, self._model, self._stream = task, model, stream

    def open(self, batch: Batch, seed: tf.Tensor | None, *, training: bool) -> dict[str, OpenRows]:
        """Rows at the last Dense of each stack, by modality: float[batch, (rows,) width] each."""
        opened = []

        def open_stack(stack, inputs):
            opened.append(stack.open(inputs))
            return opened[-1].residual  # stands in for rows that nobody reads

        pooled = self._encode(batch, seed, training, open_stack)
        return {
            name: OpenRows(*(shaped_like(value, pooled[name]) for value in rows))
            for name, rows in zip(pooled, opened, strict=True)
        }

    def close(
        self,
        opened: Mapping[str, OpenRows],
        batch: Batch,
        seed: tf.Tensor | None,
        *,
        training: bool,
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Pooled rows, and what the last Dense gives, float[batch * rows, 1, dim], by modality.

        With the batch, seed and `training` of `open`; of the batch nothing but shapes is used.
        """
        branches: dict[str, tf.Tensor] = {}
        waiting = iter(opened.items())

        def close_stack(stack, inputs):
            name, rows = next(waiting)
            residual, hidden = (tf.reshape(value, [-1, 1, value.shape[-1]]) for value in rows)
            branches[name] = stack.last_dense(hidden)
            return stack.close(residual, branches[name], inputs)

        return self._encode(batch, seed, training, close_stack), branches

    def _encode(self, batch, seed, training, run_stack: StackRunner) -> dict[str, tf.Tensor]:
        options = {"stream": self._stream, "training": training, "seed": seed}
        return self._task.encode(self._model, batch, run_stack=run_stack, **options)


def shaped_like(value: tf.Tensor, pooled: tf.Tensor) -> tf.Tensor:
    """`value: float[batch * rows, 1, width]` with the leading axes of the pooled rows."""
    return tf.reshape(value, [-1, *pooled.shape[1:-1], value.shape[-1]])
