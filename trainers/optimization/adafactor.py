"""Adafactor as T5X trains with it: factored second moments, updates in units of the parameter."""

import keras
import numpy as np
import tensorflow as tf

from trainers.optimization.config import KIND_FIELDS


class Adafactor(keras.optimizers.Optimizer):
    """Second moments in two vectors a matrix, and steps relative to the parameter's own size.

    With t counted from 1, g the gradient and p the parameter:
    `beta = 1 - t ** -decay_exponent`; `v = beta * v + (1 - beta) * (g ** 2 + 1e-30)`, kept as means
    over the two largest axes where both have at least `min_factored_size`; `u = g / sqrt(v)`,
    divided by `max(1, rms(u) / clip_threshold)`; `p -= rate * max(rms(p), 1e-3) * u`.

    Rates are therefore shares of a parameter's size: T5 peaks at 1e-2, which would diverge
    with Adam. Keras' own Adafactor keeps the whole second moment beside the factors, always factors
    the last two axes, and caps the rate at `1 / sqrt(t)`.

    Args:
        learning_rate: float, or a callable without arguments.
        decay_exponent: how fast the second moment becomes a long average.
        min_factored_size: smallest axis that is factored.
        clip_threshold: largest root mean square of an update before it is scaled; 0: no clipping.
        scale_by_parameter: multiply updates by the parameter's root mean square.
        weight_decay: as in every Keras optimizer.

    Source: Shazeer and Stern 2018; the form of T5X, which PaLI trains with (PaLI, appendix).
    """

    GRADIENT_EPSILON = 1e-30
    SMALLEST_SCALE = 1e-3

    def __init__(
        self,
        learning_rate,
        *,
        decay_exponent: float = 0.8,
        min_factored_size: int = 128,
        clip_threshold: float = 1.0,
        scale_by_parameter: bool = True,
        weight_decay: float | None = None,
        name: str = "adafactor",
        **kwargs,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.decay_exponent = decay_exponent
        self.min_factored_size = min_factored_size
        self.clip_threshold = clip_threshold
        self.scale_by_parameter = scale_by_parameter

    def build(self, variables):
        """Creates the moments: two reduced ones of what is factored, a whole one of the rest."""
        if self.built:
            return
        super().build(variables)
        self._moments = [self._new_moments(variable) for variable in variables]

    def _new_moments(self, variable) -> tuple[keras.Variable, ...]:
        shape = tuple(variable.shape)
        axes = factored_axes(shape, self.min_factored_size)
        name = variable.path.replace("/", "_")
        if axes is None:
            return (self.add_variable(shape, dtype="float32", name=f"{name}_second_moment"),)
        second, largest = axes
        return (
            self.add_variable(without(shape, largest), dtype="float32", name=f"{name}_rows"),
            self.add_variable(without(shape, second), dtype="float32", name=f"{name}_columns"),
        )

    def update_step(self, gradient, variable, learning_rate):
        """Moves one variable."""
        gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
        moments = self._moments[self._get_variable_index(variable)]
        update = gradient * self._inverse_root(tf.square(gradient), moments)
        if self.clip_threshold:
            update /= tf.maximum(1.0, root_mean_square(update) / self.clip_threshold)
        step = tf.cast(learning_rate, tf.float32)
        if self.scale_by_parameter:
            value = tf.cast(tf.convert_to_tensor(variable), tf.float32)
            step *= tf.maximum(root_mean_square(value), self.SMALLEST_SCALE)
        self.assign_sub(variable, tf.cast(step * update, variable.dtype))

    def _inverse_root(self, squares, moments):
        """float32 1 / sqrt(second moment) after this step, that broadcasts against the gradient."""
        count = tf.cast(self.iterations.value, tf.float32) + 1.0
        share = tf.pow(count, -self.decay_exponent)
        squares += self.GRADIENT_EPSILON
        if len(moments) == 1:
            return tf.math.rsqrt(self._averaged(moments[0], squares, share))
        second, largest = factored_axes(tuple(squares.shape), self.min_factored_size)
        rows = self._averaged(moments[0], tf.reduce_mean(squares, axis=largest), share)
        columns = self._averaged(moments[1], tf.reduce_mean(squares, axis=second), share)
        rows, columns = tf.expand_dims(rows, largest), tf.expand_dims(columns, second)
        mean = tf.reduce_mean(rows, axis=second, keepdims=True)
        return tf.math.rsqrt(rows / mean) * tf.math.rsqrt(columns)

    def _averaged(self, moment, values, share):
        moment_before = tf.convert_to_tensor(moment)
        average = moment_before + share * (values - moment_before)
        self.assign(moment, average)
        return average

    def get_config(self):
        own = {name: getattr(self, name) for name in KIND_FIELDS["adafactor"]}
        return super().get_config() | own


def factored_axes(shape: tuple[int, ...], min_size: int) -> tuple[int, int] | None:
    """The second largest and the largest axis, or None where the former is below `min_size`."""
    if len(shape) < 2:
        return None
    second, largest = (int(axis) for axis in np.argsort(shape, kind="stable")[-2:])
    return (second, largest) if shape[second] >= min_size else None


def root_mean_square(values: tf.Tensor) -> tf.Tensor:
    """float32[] root of the mean square of all entries."""
    return tf.sqrt(tf.reduce_mean(tf.square(values)))


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """`shape` with an axis left out."""
    return shape[:axis] + shape[axis + 1 :]
