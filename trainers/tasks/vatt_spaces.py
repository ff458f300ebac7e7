"""The place of sounds in the space of captions."""

from collections.abc import Mapping

import keras
import tensorflow as tf


def with_audio_text(
    model: keras.Model, embeddings: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Embeddings with `audio_vt: float32[..., dim]` added where there is `audio_va`.

    Sounds reach the text space over the video-audio space, by the map that videos take. Its batch
    norm keeps to the running statistics, so that sounds do not shift those of the videos. A head
    of one joint space has nothing to map; a model without text has no `audio_vt`.

    Args:
        model: a VattModel.
        embeddings: outputs of its head.

    Source: VATT, section 3.3 (hierarchy of spaces).
    """
    embeddings = dict(embeddings)
    if "audio_va" not in embeddings or "text" not in model.config.modalities:
        return embeddings
    audio = embeddings["audio_va"]
    if model.config.head.kind == "fac":
        audio = tf.cast(model.head.maps["va_to_vt"](audio, training=False), tf.float32)
    return embeddings | {"audio_vt": audio}
