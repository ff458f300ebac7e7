"""Exponential moving average of the weights, kept beside the optimizers."""

import contextlib
from collections.abc import Collection, Iterator, Sequence

import keras
import tensorflow as tf

from trainers.config.schema import EmaConfig


def average_name(path: str) -> str:
    """The name of the average of the weight at `path`."""
    return f"average/{path}"


class Averages:
    """average ← decay * average + (1 - decay) * variable, after every step.

    Works inside a replica's step under every strategy, where the average that Keras' optimizers
    keep fails. Batch-norm statistics and frozen variables are averages already: they stay as they
    are, and cost no memory here.

    Attributes:
        values: averages in the order of the variables that have one.
        saved: what a checkpoint keeps: averages by the place of their variable among all trainable
            ones, so that checkpoints with averages of frozen variables can be read too.
    """

    def __init__(
        self,
        config: EmaConfig,
        variables: Sequence[keras.Variable],
        trained: Collection[str] | None = None,
    ):
        """Starts from the variables' values; call under the strategy's scope.

        Args:
            config: how fast the averages move.
            variables: the model's trainable ones.
            trained: paths of those that an optimizer moves; None: all.
        """
        self._config = config
        kept = {
            str(index): variable
            for index, variable in enumerate(variables)
            if trained is None or variable.path in trained
        }
        self._variables = list(kept.values())
        self.saved = {
            index: tf.Variable(variable.value, trainable=False, name=average_name(variable.path))
            for index, variable in kept.items()
        }
        self.values = list(self.saved.values())

    def decay(self, step: tf.Tensor) -> tf.Tensor:
        """float32[] decay of the update that follows step number `step` (from 0)."""
        decay = tf.constant(self._config.decay, tf.float32)
        if not self._config.warmup:
            return decay
        step = tf.cast(step, tf.float32)
        return tf.minimum(decay, (1.0 + step) / (10.0 + step))

    def update(self, step: tf.Tensor) -> None:
        """Moves the averages towards the variables; call in replica context after the
        optimizers."""
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._update, tf.distribute.get_strategy(), self.decay(step)
        )

    def _update(self, strategy: tf.distribute.Strategy, decay: tf.Tensor) -> None:
        def move(average: tf.Variable, variable: tf.Variable, share: tf.Tensor) -> None:
            average.assign_sub((average - variable) * tf.cast(1.0 - share, average.dtype))

        for average, variable in zip(self.values, self._variables, strict=True):
            strategy.extended.update(average, move, args=(variable.value, decay), group=False)

    def assign_to_variables(self) -> None:
        """Overwrites the variables with their averages."""
        for average, variable in zip(self.values, self._variables, strict=True):
            variable.value.assign(average.read_value())

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Lends the averages to the model, and puts the weights back bit by bit."""
        weights = [tf.identity(variable.value.read_value()) for variable in self._variables]
        self.assign_to_variables()
        try:
            yield
        finally:
            for variable, weight in zip(self._variables, weights, strict=True):
                variable.value.assign(weight)
