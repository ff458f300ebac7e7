"""One modality's encoder with a linear classifier, for fine-tuning."""

import dataclasses
import math

import keras
import tensorflow as tf

from mm_models import config_tools
from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.vatt.config import VattConfig
from mm_models.vatt.encoders import VattEncoders


@keras.saving.register_keras_serializable("mmstack")
class VattClassifier(VattEncoders):
    """Classes of a clip from the pooled row of its encoder.

    Audio classes begin improbable (bias -ln(classes - 1)), since many are asked at once.

    Args:
        config: VattConfig, or the dict of one; only `modality` is built.
        modality: `video`, `audio` or `text`.
        num_classes: width of the output.
        head_dropout_rate: dropout of the pooled row.

    Call arguments:
        inputs: {modality: see `VattModel`}; logits of views are averaged.
        training: bool.
        seed: int32[2]; None draws one (for `fit`).

    Returns:
        float32[batch, classes], logits.

    Source: VATT, section 4.1 and appendix A.
    """

    def __init__(
        self,
        config: VattConfig | dict,
        modality: str,
        num_classes: int,
        head_dropout_rate: float = 0.0,
        **kwargs,
    ):
        config = config_tools.as_config(config, VattConfig)
        super().__init__(dataclasses.replace(config, modalities=[modality]), **kwargs)
        self.modality = modality
        self.num_classes = num_classes
        self.head_dropout_rate = head_dropout_rate
        policy = self.dtype_policy
        self.dropout = StatelessDropout(head_dropout_rate, name="dropout", dtype=policy)
        is_audio = modality == "audio"
        rare = -math.log(num_classes - 1) if is_audio and num_classes > 1 else 0.0
        self.classifier = keras.layers.Dense(
            num_classes,
            kernel_initializer="glorot_uniform" if is_audio else "glorot_normal",
            bias_initializer=keras.initializers.Constant(rare),
            name="classifier",
            dtype=policy,
        )
        self.classifier.build((None, self.pooled_dims[modality]))
        self.built = True

    def call(self, inputs, training=False, seed=None):
        if training and seed is None:
            seed = tf.cast(self.seed_generator.next(), tf.int32)
        pooled = self.encode(inputs, training=training, seed=seed)[self.modality]
        pooled = self.dropout(
            pooled, **randomness.drawing(Purpose.CLASSIFIER_INPUT, training, seed)
        )
        logits = tf.cast(self.classifier(pooled), tf.float32)
        return tf.reduce_mean(logits, axis=1) if logits.shape.rank == 3 else logits
