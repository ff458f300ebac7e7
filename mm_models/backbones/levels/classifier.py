"""Classes of images by a backbone of several levels."""

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from mm_models import checks, config_tools
from mm_models.backbones.levels import config as levels_config
from mm_models.backbones.levels.build import build_levels
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.errors import UserError
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer

POOLS = ("mean", "max", "smooth_max")
LEVELS = ("all", "random")


@dataclasses.dataclass
class LevelsClassifierConfig:
    """A classifier of images, whose backbone other models start from.

    Attributes:
        visual: the backbone.
        num_classes: width of the output.
        pool: what a level's classifier, which gives every region logits, makes of those of an
            image: `mean`, `max` or `smooth_max`, log(mean(exp(sharpness x logit))) / sharpness.
        sharpness: of `smooth_max`; the larger, the nearer the maximum.
        level: which levels tell the classes of an image in training: the mean of `all`, or one of
            them, drawn for each image (`random`), so that every level learns to tell them without
            the others. Otherwise it is the mean of all.
        head_bias: where the biases of the classes start.

    Source: https://arxiv.org/abs/1411.6228 for `smooth_max`.
    """

    visual: LevelsConfig = dataclasses.field(default_factory=lambda: LevelsConfig(trainable=True))
    num_classes: int = 0
    pool: str = "smooth_max"
    sharpness: float = 4.0
    level: str = "all"
    head_bias: float = 0.0


def resolve(config: LevelsClassifierConfig) -> LevelsClassifierConfig:
    """A checked copy whose backbone is resolved.

    Raises:
        UserError: an unknown name, or values that do not fit together.
    """
    checks.check_choice(config.pool, POOLS, "pool")
    checks.check_choice(config.level, LEVELS, "level")
    checks.check_positive(config.sharpness, "sharpness")
    with checks.within("visual", config.visual):
        return dataclasses.replace(config, visual=levels_config.resolve(config.visual))


@keras.saving.register_keras_serializable("mmstack")
class RegionClassifier(SavedLayer):
    """Logits of an image from those of its regions, of one level or of the mean of all.

    Args:
        num_classes, pool, sharpness, level, head_bias: see `LevelsClassifierConfig`.

    Call arguments:
        maps: float[batch, rows, columns, channels] by level.
        training: bool.
        seed: int32[2] that levels are drawn with in training.

    Returns:
        float32[batch, classes].
    """

    def __init__(
        self,
        num_classes: int,
        pool: str,
        sharpness: float,
        level: str = "all",
        head_bias: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.pool = pool
        self.sharpness = sharpness
        self.level = level
        self.head_bias = head_bias

    def build(self, input_shape):
        for name, shape in input_shape.items():
            dense = keras.layers.Dense(
                self.num_classes, use_bias=False, name=name, dtype=self.dtype_policy
            )
            dense.build((None, None, None, shape[-1]))
            setattr(self, f"of_{name}", dense)
        self.bias = self.add_weight(
            name="bias",
            shape=(self.num_classes,),
            initializer=keras.initializers.Constant(self.head_bias),
            autocast=False,
        )
        self.built = True

    def call(self, maps, training=False, seed=None):
        by_level = [
            self._pooled(getattr(self, f"of_{name}")(values)) for name, values in maps.items()
        ]
        logits = tf.stack(by_level, axis=1)  # [batch, levels, classes]
        if training and self.level == "random":
            seed = randomness.required(seed, self.name)
            place = randomness.choices(len(by_level), seed, tf.shape(logits)[0])
            return tf.gather(logits, place, axis=1, batch_dims=1) + self.bias.value
        return tf.reduce_mean(logits, axis=1) + self.bias.value

    def _pooled(self, logits: tf.Tensor) -> tf.Tensor:
        """float[batch, rows, columns, classes] -> float32[batch, classes]."""
        logits = tf.cast(logits, tf.float32)
        if self.pool == "mean":
            return tf.reduce_mean(logits, axis=[1, 2])
        if self.pool == "max":
            return tf.reduce_max(logits, axis=[1, 2])
        regions = math.log(logits.shape[1] * logits.shape[2])
        summed = tf.reduce_logsumexp(logits * self.sharpness, axis=[1, 2])
        return (summed - regions) / self.sharpness


@keras.saving.register_keras_serializable("mmstack")
class LevelsClassifier(SavedLayer, keras.Model):
    """A backbone of several levels with a classifier of each.

    The backbone is the part `visual`, as in models of pictures and text.

    Args:
        config: LevelsClassifierConfig with classes, or the dict of one.

    Call arguments:
        inputs: `video` float[batch, images, height, width, 3] in [-1, 1], or
            float[batch, views, images, height, width, 3]; logits of all images are averaged.
        training: bool.
        seed: int32[2] that levels are drawn with in training.

    Returns:
        float32[batch, classes], logits.

    Raises:
        UserError: the config has no classes.
    """

    modality = "video"
    modalities = ("video",)

    def __init__(self, config: LevelsClassifierConfig | dict[str, Any], **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = resolve(config_tools.as_config(config, LevelsClassifierConfig))
        if config.num_classes < 1:
            raise UserError(
                f"num_classes is {config.num_classes}; a classifier needs the number of classes"
            )
        self.visual = build_levels(config.visual, dtype=self.dtype_policy)
        self.classifier = RegionClassifier(
            *(config.num_classes, config.pool, config.sharpness, config.level, config.head_bias),
            name="classifier",
            dtype=self.dtype_policy,
        )
        shapes = self.visual.shapes()
        self.classifier.build({name: (None, *shape) for name, shape in shapes.items()})
        self.built = True

    def call(self, inputs, training=False, seed=None):
        video = inputs["video"]
        # [batch, (views,) images, height, width, 3] -> [batch * images, height, width, 3]
        num_images = math.prod(video.shape[1:-3])
        images = tf.reshape(video, [-1, *video.shape[-3:]])
        maps = self.visual.maps(images, training=training)
        seed = randomness.fold_in_optional(seed, Purpose.LEVEL)
        logits = self.classifier(maps, training=training, seed=seed)
        return tf.reduce_mean(tf.reshape(logits, [-1, num_images, logits.shape[1]]), axis=1)

    def feature_maps(self, video) -> tf.Tensor:
        """The last level's map, averaged over the images; see `contracts.MapsFrames`.

        Args:
            video: float[batch, images, height, width, 3] in [-1, 1].
        """
        # [batch, images, height, width, 3] -> [batch * images, rows, columns, channels]
        images = tf.reshape(video, [-1, *video.shape[2:]])
        last = self.visual.maps(images)[self.config.visual.levels[-1]]
        by_image = tf.reshape(last, [tf.shape(video)[0], -1, *last.shape[1:]])
        return tf.reduce_mean(tf.cast(by_image, tf.float32), axis=1)
