"""Classes of images by a vision transformer."""

import math

import keras
import tensorflow as tf

from mm_models.backbones import vit_config
from mm_models.backbones.vit import Vit
from mm_models.backbones.vit_config import VitConfig
from mm_models.errors import UserError
from mm_models.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable("mmstack")
class ImageClassifier(SavedLayer, keras.Model):
    """A vision transformer with a classifier, whose backbone other models start from.

    The transformer is the part `vision`, as in models of pictures and text; its pooling and
    classifier have no place there.

    Args:
        config: VitConfig with a pooling and classes, or the dict of one.

    Call arguments:
        inputs: `video` float[batch, images, height, width, 3] in [-1, 1], or
            float[batch, views, images, height, width, 3]; logits of all images are averaged.
        training: bool.
        seed: int32[2] for dropout.

    Returns:
        float32[batch, classes], logits.

    Raises:
        UserError: the config has no classes.

    Source: PaLI, section 3.1 (the vision transformers are first trained on classes).
    """

    modality = "video"
    modalities = ("video",)

    def __init__(self, config: VitConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = vit_config.as_resolved(config)
        if not config.num_classes:
            raise UserError("model.num_classes is 0; a classifier needs the number of classes")
        self.vision = Vit(config, name="vision", dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs, training=False, seed=None):
        video = inputs["video"]
        # [batch, (views,) images, height, width, 3] -> [batch * images, height, width, 3]
        num_images = math.prod(video.shape[1:-3])
        images = tf.reshape(video, [-1, *video.shape[-3:]])
        logits = self.vision.classify(self.vision(images, training=training, seed=seed))
        return tf.reduce_mean(tf.reshape(logits, [-1, num_images, logits.shape[1]]), axis=1)

    def feature_maps(self, video) -> tf.Tensor:
        """Tokens of the last layer, averaged over the images; see `contracts.MapsFrames`.

        Args:
            video: float[batch, images, height, width, 3] in [-1, 1].
        """
        # [batch, images, height, width, 3] -> [batch * images, rows, columns, width]
        images = tf.reshape(video, [-1, *video.shape[2:]])
        maps = self.vision.maps(self.vision(images), *images.shape[1:3])
        by_image = tf.reshape(maps, [tf.shape(video)[0], -1, *maps.shape[1:]])
        return tf.reduce_mean(tf.cast(by_image, tf.float32), axis=1)
