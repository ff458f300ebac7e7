"""Dropout whose mask is a function of a seed that the caller gives."""

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable("mmstack")
class StatelessDropout(SavedLayer):
    """Zeroes a share of the values in training and scales the rest so that the mean stays.

    Call arguments:
        inputs: float[...].
        training: bool.
        seed: int32[2]; needed when training with a rate above 0.

    Raises:
        ValueError: the rate is outside [0, 1), or a seed is missing.
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"a dropout rate must be in [0, 1), not {rate}")
        self.rate = rate
        self.built = True

    def call(self, inputs, training=False, seed=None):
        if not training or self.rate == 0.0:
            return inputs
        seed = randomness.required(seed, self.name)
        kept = randomness.keep_mask(tf.shape(inputs), seed, self.rate)
        scaled = inputs * tf.cast(1.0 / (1.0 - self.rate), inputs.dtype)
        return tf.where(kept, scaled, tf.zeros([], scaled.dtype))
