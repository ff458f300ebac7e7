"""IMP: one encoder for images, videos, sounds and text."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.imp import config as imp_config
from mm_models.imp.config import ImpConfig
from mm_models.imp.config_checks import MODALITIES
from mm_models.imp.encoder import ImpEncoder
from mm_models.imp.spaces import Spaces, Temperatures
from mm_models.imp.tokens import DEFAULT_PATCH
from mm_models.layers import instances, randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer

# Axes of one example's input, without instances.
EXAMPLE_RANKS = {"video": 4, "audio": 1, "waveform": 1, "text": 1}


class Encoded(NamedTuple):
    """What `ImpModel.encode` gives.

    Attributes:
        pooled: modality to float32[batch, dim], or float32[batch, instances, dim] where the input
            has that axis.
        routings: modality to a Routing for every layer with experts.
    """

    pooled: dict[str, tf.Tensor]
    routings: dict[str, tuple]


@keras.saving.register_keras_serializable("mmstack")
class ImpModel(SavedLayer, keras.Model):
    """One encoder for all modalities (or one each), common spaces and classifiers behind it.

    Every weight exists once the constructor returns.

    Args:
        config: ImpConfig, or the dict of one.

    Call arguments:
        inputs: any of
            video: float[batch, frames, height, width, 3] in [-1, 1]; one frame is an image,
            audio: float[batch, samples] in [-1, 1], heard as a spectrogram,
            waveform: float[batch, samples] in [-1, 1], heard as it is,
            text: int32[batch, tokens], 0 is padding,
            each with one more axis behind the batch for several instances (clips, captions).
            Other keys, such as masks, are left alone.
        training: bool.
        seed: int32[2], from which all that is random follows; None draws one (for `fit`).

    Returns:
        `encode(...).pooled` and `project` merged.

    Raises:
        UserError: a config that makes no sense; an input that the model does not take.

    Source: IMP.
    """

    def __init__(self, config: ImpConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = imp_config.as_resolved(config)
        self.seed_generator = keras.random.SeedGenerator()
        policy = self.dtype_policy
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        parts = {"encoder": config.modalities}
        if not config.shared_encoder:
            parts = {f"{modality}_encoder": [modality] for modality in config.modalities}
        for name, modalities in parts.items():
            encoder = ImpEncoder(config, modalities, name=name, dtype=policy)
            encoder.build()
            setattr(self, name, encoder)
        self.common = Spaces(
            config.space, config.modalities, config.dim, name="spaces", dtype=policy
        )
        self.common.build()
        self.temperatures = Temperatures(
            config.temperature, config.modalities, name="temperatures", dtype=policy
        )
        self.temperatures.build()
        for name, num_classes in config.classifiers.items():
            classifier = keras.layers.Dense(num_classes, name=f"{name}_classifier", dtype=policy)
            classifier.build((None, config.dim))
            setattr(self, f"{name}_classifier", classifier)
        self.built = True

    @property
    def modalities(self) -> list[str]:
        """What the model takes, as its config names it."""
        return self.config.modalities

    @property
    def patches(self) -> Collection[str]:
        """Names of the patches that videos can be cut into."""
        return self.config.video.patches

    def encoder_of(self, modality: str) -> ImpEncoder:
        """The encoder that takes a modality.

        Raises:
            UserError: the model has none.
        """
        if modality not in self.config.modalities:
            raise UserError(
                f"the model has no {modality}; it was built for {self.config.modalities}"
            )
        return self.encoder if self.config.shared_encoder else getattr(self, f"{modality}_encoder")

    def encode(
        self,
        inputs: Mapping[str, tf.Tensor],
        *,
        training: bool = False,
        seed: tf.Tensor | None = None,
        drop_token: Mapping[str, float] | None = None,
        patch: str = DEFAULT_PATCH,
    ) -> Encoded:
        """Pooled rows by modality, each from a pass of its own; local to a replica, compilable.

        Args:
            inputs, training, seed: see the class.
            drop_token: share of the tokens left out in training, by modality; floor((1 - rate) n)
                of n stay, another choice for every example.
            patch: name of the patches that videos are cut into.

        Returns:
            Encoded.
        """
        if training and seed is None:
            seed = tf.cast(self.seed_generator.next(), tf.int32)
        drop_token = dict(drop_token or {})
        for modality in drop_token:
            if modality not in MODALITIES or modality == "text":
                raise UserError(
                    f"drop_token names {modality!r}; tokens of video, audio and waveform can be "
                    "dropped"
                )
        pooled, routings = {}, {}
        for modality in (name for name in MODALITIES if name in inputs):
            values = tf.convert_to_tensor(inputs[modality])
            rows, extra = instances.fold(values, EXAMPLE_RANKS[modality], modality)
            outputs = self.encoder_of(modality)(
                rows,
                modality=modality,
                patch=patch,
                drop_rate=drop_token.get(modality, 0.0),
                **randomness.drawing(Purpose(modality), training, seed),
            )
            pooled[modality] = instances.unfold(outputs.pooled, extra)
            routings[modality] = tuple(outputs.routings)
        return Encoded(pooled, routings)

    def project(self, pooled: Mapping[str, tf.Tensor], *, training: bool = False):
        """Places of the pooled rows in the common spaces: float32, see `Spaces`."""
        return self.common(dict(pooled), training=training)

    def spaces(self, first: str, second: str) -> tuple[str, str]:
        """Names of the two outputs in which two modalities are compared, in the order given.

        Raises:
            UserError: a modality that the model does not have.
        """
        return self.common.pair(first, second)

    def temperature(self, first: str, second: str) -> tf.Tensor:
        """float32[], by which similarities of two modalities are divided; the order is free."""
        return self.temperatures.value(first, second)

    def classify(self, pooled: tf.Tensor, name: str) -> tf.Tensor:
        """Logits of a classifier, averaged over instances.

        Args:
            pooled: float[batch, dim] or float[batch, instances, dim].
            name: of the classifier.

        Returns:
            float32[batch, classes].

        Raises:
            UserError: the model has no such classifier.
        """
        if name not in self.config.classifiers:
            raise UserError(
                f"the model has no classifier {name!r}; it has {sorted(self.config.classifiers)}"
            )
        logits = tf.cast(getattr(self, f"{name}_classifier")(pooled), tf.float32)
        return tf.reduce_mean(logits, axis=1) if logits.shape.rank == 3 else logits

    def embed(
        self, inputs: Mapping[str, tf.Tensor], patch: str = DEFAULT_PATCH
    ) -> dict[str, tf.Tensor]:
        """All that evaluation compares: pooled rows and every place of theirs in a common space.

        Args:
            inputs: see the class.
            patch: name of the patches that videos are cut into.
        """
        pooled = self.encode(inputs, patch=patch).pooled
        return {**pooled, **self.project(pooled)}

    def call(self, inputs, training=False, seed=None):
        pooled = self.encode(inputs, training=training, seed=seed).pooled
        return {**pooled, **self.project(pooled, training=training)}
