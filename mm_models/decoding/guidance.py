"""Several branches of a model per sample, combined before an id is chosen."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mm_models.decoding.state import StepFunction


def classifier_free_weights(scale: float) -> tuple[float, float]:
    """Weights of the conditional and the unconditional branch: u + scale * (c - u).

    1 is the conditional branch alone. MAGVIT writes c + s * (c - u), which is scale = 1 + s.
    """
    return (scale, 1.0 - scale)


def two_condition_weights(first_scale: float, second_scale: float) -> tuple[float, float, float]:
    """Weights of the branches with both conditions, with the first alone, and with none:
    none + first_scale * (first - none) + second_scale * (both - first)."""
    return (second_scale, first_scale - second_scale, 1.0 - first_scale)


class Guidance:
    """Logits as a weighted sum over the branches of a sample.

    A branch whose weight is 0 everywhere is not run: the state must hold those in `branches` only.
    The state's cache then has rows * branches rows, the branches of a row next to each other.

    Args:
        weights: float[branches], or float[max_length, branches] where they differ by position (the
            last row then stands for all positions after it).

    Attributes:
        branches: indices of the branches that are run, ascending.
    """

    def __init__(self, weights: Sequence[float] | Sequence[Sequence[float]]):
        table = np.atleast_2d(np.asarray(weights, np.float32))
        self.branches = tuple(np.flatnonzero(np.any(table != 0.0, axis=0)).tolist())
        self._table = table[:, list(self.branches)]

    def step(self, step: StepFunction, first_position: int = 0) -> StepFunction:
        """A step of rows for a step of rows * branches.

        Args:
            step: the model's.
            first_position: the position at which the first written id is predicted; see
                `TokenLoop`.
        """
        count = len(self.branches)

        def guided(ids, position, state):
            logits, state = step(tf.repeat(ids, count), position, state)
            logits = tf.cast(logits, tf.float32)
            # [rows * branches, vocab] -> [rows, branches, vocab]
            logits = tf.reshape(logits, [-1, count, logits.shape[-1]])
            return self.combine(logits, position - first_position), state

        return guided

    def combine(self, logits: tf.Tensor, position: int | tf.Tensor = 0) -> tf.Tensor:
        """float32[rows, vocab] of float32[rows, branches that are run, vocab]."""
        weights = tf.constant(self._table)
        now = tf.gather(weights, tf.minimum(position, len(self._table) - 1))
        if len(self.branches) == 1:
            return logits[:, 0] * now[0]
        return tf.reduce_sum(logits * now[:, None], axis=1)
