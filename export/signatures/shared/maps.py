"""Features of the regions of clips, which other systems learn from, as a served function."""

from typing import Any

import tensorflow as tf

from export.signatures import fields
from export.signatures.fields import SignatureDoc
from export.signatures.shared import preprocessing
from export.signatures.shared.media import ServedFunction, media_field
from export.version.model_info import ModelInfo
from mm_models.contracts import MapsFrames

# What frozen encoders are asked by (beam_pipelines/pipelines/features/encoder.py).
NAME, INPUT, OUTPUT = "feature_maps", "video", "maps"


def maps_served(model: Any, input_config: Any, info: ModelInfo) -> dict[str, ServedFunction]:
    """The signature `feature_maps` of a model that can map the frames of videos; else none.

    Args:
        model: with trained weights.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        info: facts of the run. A model of stills maps every frame, and averages.
    """
    if not isinstance(model, MapsFrames) or "video" not in model.modalities:
        return {}
    if input_config.video is None:
        return {}
    height, width = info.height or info.image_height, info.width or info.image_width
    sizes = (info.num_frames, height, width, input_config.video.crop)

    def maps(video: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: model.feature_maps(preprocessing.video_from_frames(video, *sizes))}

    taken = media_field(fields.FRAME_PIXELS, info)
    if not info.num_frames:
        meaning = f"RGB, seen at {height} x {width} pixels; of any size and number"
        taken = fields.input_field(fields.FRAME_PIXELS, meaning)
    given = fields.output_field(
        fields.FEATURE_MAP, "features of the regions of what is seen, averaged over time"
    )
    doc = SignatureDoc("Gives the regions of clips features.", {INPUT: taken}, {OUTPUT: given})
    return {NAME: ServedFunction(doc, maps)}
