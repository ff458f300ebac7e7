"""Maps into the common space.

Files of weights build a layer a second time, which then must make no weights.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mm_models.layers.saved_layer import SavedLayer


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """float32[..., dim] of length 1; zeros stay zeros."""
    return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1)


@keras.saving.register_keras_serializable("mmstack")
class DenseMap(SavedLayer):
    """Dense layers, each with a leaky rectifier behind it, to unit vectors.

    Args:
        input_width: width of what is mapped.
        widths: of the layers.
        normalize_each: whether vectors have length 1 behind every layer, or behind the last.
        leaky_slope: of the rectifier below 0.

    Call arguments:
        vectors: float[..., input_width].

    Returns:
        float32[..., widths[-1]].
    """

    def __init__(
        self,
        input_width: int,
        widths: Sequence[int],
        normalize_each: bool = False,
        leaky_slope: float = 0.25,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.input_width, self.widths = input_width, list(widths)
        self.normalize_each, self.leaky_slope = normalize_each, leaky_slope
        for place, width in enumerate(widths):
            layer = keras.layers.Dense(width, name=f"dense_{place}", dtype=self.dtype_policy)
            setattr(self, layer.name, layer)

    @property
    def dense(self) -> list[keras.layers.Dense]:
        """The layers in order; checkpoints find layers that are attributes."""
        return [getattr(self, f"dense_{place}") for place in range(len(self.widths))]

    def build(self, input_shape=None):
        if self.built:
            return
        for layer, width in zip(self.dense, (self.input_width, *self.widths), strict=False):
            layer.build((None, width))
        self.built = True

    def call(self, vectors):
        for layer in self.dense:
            vectors = tf.nn.leaky_relu(layer(vectors), self.leaky_slope)
            if self.normalize_each:
                vectors = unit(vectors)
        return unit(vectors)


@keras.saving.register_keras_serializable("mmstack")
class LevelMap(SavedLayer):
    """Convolutions of one level of a backbone, each with a leaky rectifier, to unit vectors.

    Args:
        channels: of the level.
        widths: of the convolutions.
        kernel_size: 1, or 3 with zeros around the map.
        leaky_slope: of the rectifier below 0.

    Call arguments:
        maps: float[batch, rows, columns, channels].

    Returns:
        float32[batch, rows, columns, widths[-1]].
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        kernel_size: int = 1,
        leaky_slope: float = 0.25,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.channels, self.widths = channels, list(widths)
        self.kernel_size, self.leaky_slope = kernel_size, leaky_slope
        for place, width in enumerate(widths):
            layer = keras.layers.Conv2D(
                width,
                kernel_size,
                padding="same",
                name=f"convolution_{place}",
                dtype=self.dtype_policy,
            )
            setattr(self, layer.name, layer)

    @property
    def convolutions(self) -> list[keras.layers.Conv2D]:
        """The layers in order; checkpoints find layers that are attributes."""
        return [getattr(self, f"convolution_{place}") for place in range(len(self.widths))]

    def build(self, input_shape=None):
        if self.built:
            return
        for layer, width in zip(self.convolutions, (self.channels, *self.widths), strict=False):
            layer.build((None, None, None, width))
        self.built = True

    def call(self, maps):
        for layer in self.convolutions:
            maps = tf.nn.leaky_relu(layer(maps), self.leaky_slope)
        return unit(maps)

    def squared_kernels(self) -> tf.Tensor:
        """float32[]: the sum of the squares of all kernels' entries."""
        return tf.add_n([tf.reduce_sum(tf.square(one.kernel)) for one in self.convolutions])
