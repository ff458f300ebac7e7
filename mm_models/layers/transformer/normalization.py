"""Normalisation over the feature axis."""

import keras
import tensorflow as tf

from mm_models.layers.saved_layer import SavedLayer

EPSILON = 1e-6


@keras.saving.register_keras_serializable("mmstack")
class RmsNorm(SavedLayer):
    """Divides by the root mean square over the last axis and scales; no mean, no offset (T5).

    Call arguments:
        inputs: float[..., dim]; the statistics are computed in float32.
    """

    def __init__(self, epsilon: float = EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        self.scale = self.add_weight(
            name="scale", shape=(input_shape[-1],), initializer="ones", autocast=False
        )
        self.built = True

    def call(self, inputs):
        values = tf.cast(inputs, tf.float32)
        mean_square = tf.reduce_mean(tf.square(values), axis=-1, keepdims=True)
        normalized = values * tf.math.rsqrt(mean_square + self.epsilon)
        return tf.cast(normalized * tf.cast(self.scale, tf.float32), inputs.dtype)


def make_norm(kind: str, *, name: str, dtype, epsilon: float = EPSILON) -> keras.layers.Layer:
    """A normalisation by kind: `layer` (scale and offset), `layer_scale` (the same without offset)
    or `rms` (scale only, no mean); `epsilon` is added to variances and mean squares.

    Raises:
        ValueError: unknown kind.
    """
    if kind == "layer":
        return keras.layers.LayerNormalization(epsilon=epsilon, name=name, dtype=dtype)
    if kind == "layer_scale":
        return keras.layers.LayerNormalization(
            epsilon=epsilon, center=False, name=name, dtype=dtype
        )
    if kind == "rms":
        return RmsNorm(epsilon, name=name, dtype=dtype)
    raise ValueError(f"normalisation must be 'layer', 'layer_scale' or 'rms', not {kind!r}")
