"""What a run's config and records say about the media a model expects."""

import json
from collections.abc import Collection
from typing import Any

import tensorflow as tf

from export.version.model_info import ModelInfo
from mm_models.errors import UserError
from trainers.runs import Run

DATASET_INFO = "dataset_info.json"


def model_info(
    run: Run,
    input_config: Any,
    frame_rate_hz: float | None,
    checkpoint: str,
    modalities: Collection[str],
    *,
    still: Any = None,
) -> ModelInfo:
    """Facts for clients.

    Args:
        run: from `trainers.runs.load_run`.
        input_config: the stream's input that the model is exported for.
        frame_rate_hz: rate of the stored frames, where no record folder tells it.
        checkpoint: what was asked for.
        modalities: what the model takes, any of `video`, `audio`, `waveform` and `text`.
        still: size of the stills that the model takes apart from video (`height`, `width`).

    Raises:
        UserError: nothing tells the frame rate of a model with video, or its data sets store
            different regions of the picture.
    """
    video = input_config.video if "video" in modalities else None
    audio = input_config.audio if {"audio", "waveform"} & set(modalities) else None
    text = input_config.text if "text" in modalities else None
    stored_hz = (frame_rate_hz or stored_frame_rate_hz(input_config)) if video else 0.0
    return ModelInfo(
        system=run.config.task.name,
        experiment=run.config.name,
        step=int(run.step),
        checkpoint=checkpoint,
        frame_rate_hz=stored_hz / video.frame_stride if video else 0.0,
        num_frames=video.num_frames if video else 0,
        height=video.height if video else 0,
        width=video.width if video else 0,
        sample_rate_hz=audio.sample_rate_hz if audio else 0,
        num_samples=audio.num_samples if audio else 0,
        num_tokens=text.num_tokens if text else 0,
        signatures={},
        tensorflow_version=tf.__version__,
        region=stored_region(input_config) if video or still else None,
        image_height=still.height if still else 0,
        image_width=still.width if still else 0,
    )


def stored_frame_rate_hz(input_config: Any) -> float:
    """Frame rate of the records that a stream reads, from their `dataset_info.json`.

    Raises:
        UserError: no folder tells it, or folders differ.
    """
    rates = {
        media["frame_rate_hz"]
        for media in _stored_media(input_config)
        if media.get("frame_rate_hz") is not None
    }
    if len(rates) != 1:
        paths = [dataset.path for dataset in input_config.datasets.values()]
        found = f"they differ: {sorted(rates)}" if rates else f"no {DATASET_INFO} in {paths}"
        raise UserError(
            f"the frame rate of the records is not known ({found}); give --frame_rate_hz"
        )
    return float(rates.pop())


def stored_region(input_config: Any) -> list[float] | None:
    """Region of the picture that the records hold, from their `dataset_info.json`.

    Raises:
        UserError: the data sets differ.
    """
    regions = {tuple(media.get("region") or ()) for media in _stored_media(input_config)}
    if len(regions) > 1:
        raise UserError(
            f"the data sets store different regions of the picture ({sorted(regions)}), and a "
            "model is exported for one; preprocess them with the same --picture_region"
        )
    return list(*regions) or None


def _stored_media(input_config: Any) -> list[dict[str, Any]]:
    """`media` of each data set whose folder tells it."""
    found = []
    for dataset in input_config.datasets.values():
        try:
            with tf.io.gfile.GFile(f"{dataset.path}/{DATASET_INFO}") as stream:
                media = json.load(stream)["media"]
        except (tf.errors.OpError, ValueError, KeyError, TypeError):
            continue
        if isinstance(media, dict):
            found.append(media)
    return found
