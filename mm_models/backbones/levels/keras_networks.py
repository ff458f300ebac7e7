"""Levels of the networks that come with Keras."""

import abc
import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from mm_models.backbones.levels.base import LevelsBackbone

# What was subtracted from blue, green and red when the published weights of VGG-16 were trained.
_VGG16_MEANS_BGR = (103.939, 116.779, 123.68)


@contextlib.contextmanager
def _global_policy(policy: keras.DTypePolicy) -> Iterator[None]:
    """Keras' own networks have no argument for it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class KerasLevels(LevelsBackbone):
    """A network of `keras.applications`, cut behind its last level. See `LevelsBackbone`."""

    def _make(self) -> None:
        config = self.config
        with _global_policy(self.dtype_policy):
            whole = self._application(
                include_top=False, weights=None, input_shape=(config.height, config.width, 3)
            )
            outputs = {name: whole.get_layer(name).output for name in config.levels}
            self.network = keras.Model(whole.input, outputs, name="network")

    @abc.abstractmethod
    def _application(self, **arguments) -> keras.Model:
        """The whole network, made by Keras from these arguments."""

    def _prepare(self, images: tf.Tensor) -> tf.Tensor:
        """What the network was trained on, of float32[batch, height, width, 3] in [-1, 1]."""
        return images

    def _levels(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.network(self._prepare(tf.cast(images, tf.float32)), training=False)


@keras.saving.register_keras_serializable("mmstack")
class Vgg16Levels(KerasLevels):
    """VGG-16; its levels are convolutions after their ReLU. See `LevelsBackbone`.

    Source: https://arxiv.org/abs/1409.1556, table 1, column D.
    """

    def _application(self, **arguments) -> keras.Model:
        return keras.applications.VGG16(**arguments)

    def _prepare(self, images: tf.Tensor) -> tf.Tensor:
        return tf.reverse((images + 1.0) * 127.5, axis=[-1]) - tf.constant(_VGG16_MEANS_BGR)


@keras.saving.register_keras_serializable("mmstack")
class NasnetLargeLevels(KerasLevels):
    """NASNet-A-Large; its levels are what normal cells give. See `LevelsBackbone`.

    Source: https://arxiv.org/abs/1707.07012.
    """

    def _application(self, **arguments) -> keras.Model:
        return keras.applications.NASNetLarge(**arguments)
