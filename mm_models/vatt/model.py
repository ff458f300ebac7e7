"""VATT: video, audio and text encoders trained to agree."""

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.vatt.config import VattConfig
from mm_models.vatt.encoders import VattEncoders
from mm_models.vatt.head import Head


@keras.saving.register_keras_serializable("mmstack")
class VattModel(VattEncoders):
    """Encoders of video, audio and text (towers, or one for all) and the head that compares them.

    Every weight exists once the constructor returns.

    Args:
        config: VattConfig, or the dict of one.

    Call arguments:
        inputs: any of
            video: float[batch, frames, height, width, 3] in [-1, 1],
            audio: float[batch, samples] in [-1, 1],
            text: int32[batch, tokens], 0 is padding,
            each with one more axis behind the batch: views of video and audio, candidates of text.
            Other keys, such as masks, are left alone.
        training: bool.
        seed: int32[2], from which all dropout follows; None draws one (for `fit`).

    Returns:
        `encode` and `project` merged.

    Raises:
        UserError: a config that makes no sense; an input for a modality the model does not have.

    Source: VATT, section 3.
    """

    def __init__(self, config: VattConfig | dict, **kwargs):
        super().__init__(config, **kwargs)
        self.head = Head(self.config.head, self.pooled_dims, name="head", dtype=self.dtype_policy)
        self.head.build()
        self.built = True

    def project(self, pooled, *, training=False):
        """Places of the pooled rows in the common spaces: float32, see `Head`."""
        return self.head(dict(pooled), training=training)

    def spaces(self, first: str, second: str) -> tuple[str, str]:
        """Names of the two outputs in which two modalities are compared, in the order given.

        Raises:
            UserError: a modality that the model does not have, or one with itself.
        """
        for modality in (first, second):
            self._require(modality)
        if first == second:
            raise UserError(f"{first} is not compared with itself; name two modalities")
        space = "vt" if "text" in (first, second) else "va"
        return f"{first}_{space}", f"{second}_{space}"

    def with_audio_text(self, embeddings) -> dict[str, tf.Tensor]:
        """`embeddings` with `audio_vt: float32[..., dim]` added where there is `audio_va`.

        Sounds reach the text space over the video-audio space, by the map that videos take. Its
        batch norm keeps to the running statistics, so that sounds do not shift those of the videos.
        A head of one joint space has nothing to map; a model without text has no `audio_vt`.

        Args:
            embeddings: outputs of `project`.

        Source: VATT, section 3.3 (hierarchy of spaces).
        """
        embeddings = dict(embeddings)
        if "audio_va" not in embeddings or "text" not in self.config.modalities:
            return embeddings
        audio = embeddings["audio_va"]
        if self.config.head.kind == "fac":
            audio = tf.cast(self.head.maps["va_to_vt"](audio, training=False), tf.float32)
        return embeddings | {"audio_vt": audio}

    def embed(self, inputs) -> dict[str, tf.Tensor]:
        """All that evaluation compares: pooled rows and every place of theirs in a common space.

        Args:
            inputs: see the class.
        """
        return self.with_audio_text(self(inputs, training=False))

    def call(self, inputs, training=False, seed=None):
        pooled = self.encode(inputs, training=training, seed=seed)
        return {**pooled, **self.project(pooled, training=training)}
