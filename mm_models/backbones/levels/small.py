"""A small residual network for stills of few pixels, trained from nothing."""

import keras
import tensorflow as tf

from mm_models.backbones.levels.base import LevelsBackbone
from mm_models.backbones.levels.config import GROUP_CHANNELS
from mm_models.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable("mmstack")
class NormalizedConv(SavedLayer):
    """A convolution that keeps the size or halves it, and a normalisation within each image.

    Args:
        channels: of the output.
        kernel_size: pixels along a side.
        strides: 1 or 2.
        norm: `group` (mean and variance of eight channels of an image together) or `none`.

    Call arguments:
        inputs: float[batch, height, width, channels].

    Source: https://arxiv.org/abs/1803.08494 for the normalisation.
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, strides: int = 1, norm: str = "group", **kwargs
    ):
        super().__init__(**kwargs)
        self.channels = channels
        self.kernel_size = kernel_size
        self.strides = strides
        self.norm = norm
        self.conv = keras.layers.Conv2D(
            channels,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=norm == "none",
            kernel_initializer="he_normal",
            name="conv",
            dtype=self.dtype_policy,
        )
        if norm == "group":
            self.group_norm = keras.layers.GroupNormalization(
                channels // GROUP_CHANNELS, name="norm", dtype=self.dtype_policy
            )

    def build(self, input_shape):
        self.conv.build(input_shape)
        if self.norm == "group":
            self.group_norm.build((None, None, None, self.channels))
        self.built = True

    def call(self, inputs):
        outputs = self.conv(inputs)
        return self.group_norm(outputs) if self.norm == "group" else outputs


@keras.saving.register_keras_serializable("mmstack")
class ResidualBlock(SavedLayer):
    """ReLU(inputs + two convolutions of them), of one width.

    Args:
        channels: of inputs and output.
        norm: see `NormalizedConv`.

    Call arguments:
        inputs: float[batch, rows, columns, channels].

    Source: https://arxiv.org/abs/1512.03385, figure 2.
    """

    def __init__(self, channels: int, norm: str = "group", **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.norm = norm
        policy = self.dtype_policy
        self.first = NormalizedConv(channels, norm=norm, name="first", dtype=policy)
        self.second = NormalizedConv(channels, norm=norm, name="second", dtype=policy)

    def build(self, input_shape=None):
        for layer in (self.first, self.second):
            layer.build((None, None, None, self.channels))
        self.built = True

    def call(self, inputs):
        return tf.nn.relu(inputs + self.second(tf.nn.relu(self.first(inputs))))


@keras.saving.register_keras_serializable("mmstack")
class SmallLevels(LevelsBackbone):
    """Stages of residual blocks, each of which begins with a convolution that halves.

    The first one's kernel is 5 x 5 pixels, all others are 3 x 3. See `LevelsBackbone`.
    """

    def _make(self) -> None:
        config, policy = self.config, self.dtype_policy
        channels = 3
        for (stage, names), width in zip(self._stages().items(), config.widths, strict=False):
            entry = NormalizedConv(
                *(width, 5 if stage == 1 else 3, 2, config.norm),
                name=f"stage{stage}_entry",
                dtype=policy,
            )
            entry.build((None, None, None, channels))
            # By attributes, since TensorFlow's checkpoints do not look into dicts.
            setattr(self, entry.name, entry)
            for name in names:
                block = ResidualBlock(width, config.norm, name=name, dtype=policy)
                block.build()
                setattr(self, name, block)
            channels = width

    def _stages(self) -> dict[int, list[str]]:
        """Blocks by stage, up to the last level."""
        names = [
            (stage, f"stage{stage}_block{block}")
            for stage, count in enumerate(self.config.blocks_per_stage, 1)
            for block in range(1, count + 1)
        ]
        last = max(index for index, (_, name) in enumerate(names) if name in self.config.levels)
        found: dict[int, list[str]] = {}
        for stage, name in names[: last + 1]:
            found.setdefault(stage, []).append(name)
        return found

    def _levels(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.cast(images, self.compute_dtype)
        maps = {}
        for stage, names in self._stages().items():
            values = tf.nn.relu(getattr(self, f"stage{stage}_entry")(values))
            for name in names:
                values = maps[name] = getattr(self, name)(values)
        return maps
