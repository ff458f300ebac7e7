"""A model that points at a digit and sounds it as a pitch."""

import dataclasses
import math
from collections.abc import Mapping

import keras
import tensorflow as tf
from mmstack_beacon.config import BeaconConfig

PIXELS = 16


@keras.saving.register_keras_serializable(package="mmstack")
class BeaconModel(keras.Model):
    """From a picture, a box and a pitch; from the pitch, a sound.

    Args:
        config: BeaconConfig, or the dict of one.
    """

    def __init__(self, config: BeaconConfig | dict, **kwargs):
        super().__init__(**kwargs)
        self.config = BeaconConfig(**config) if isinstance(config, dict) else config
        self.hidden = keras.layers.Dense(self.config.width, activation="gelu", name="hidden")
        self.box = keras.layers.Dense(4, name="box")
        self.pitch = keras.layers.Dense(1, name="pitch")
        self.hidden.build((None, PIXELS * PIXELS * 3))
        for layer in (self.box, self.pitch):
            layer.build((None, self.config.width))
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor], training=False, seed=None):
        """Boxes float32[batch, 4] and pitches float32[batch], both in [0, 1]."""
        rows = tf.reshape(inputs["video"][:, 0], [-1, PIXELS * PIXELS * 3])
        hidden = self.hidden(rows)
        return tf.nn.sigmoid(self.box(hidden)), tf.nn.sigmoid(self.pitch(hidden))[:, 0]

    def synthesize(self, pitch: tf.Tensor) -> tf.Tensor:
        """float32[batch, samples] in [-0.5, 0.5] of `pitch: float32[batch]`."""
        config = self.config
        hertz = tf.round(config.lowest_hz + (config.highest_hz - config.lowest_hz) * pitch)
        # Whole numbers, so that every machine hears the same phase after thousands of radians.
        samples = tf.range(config.num_samples, dtype=tf.float32)
        phase = tf.math.floormod(hertz[:, None] * samples, config.sample_rate_hz)
        return 0.5 * tf.sin(2 * math.pi * phase / config.sample_rate_hz)

    def get_config(self):
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}
