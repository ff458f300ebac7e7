"""Checks of an input configuration that need no files."""

from collections.abc import Iterable

from beam_pipelines.record import contract
from mm_models.errors import UserError
from trainers.data.config import (
    AudioInputConfig,
    DatasetConfig,
    InputConfig,
    TextInputConfig,
    VideoInputConfig,
)
from trainers.data.parts.prompted.validation import validate_prompted

CROPS = ("inception", "vgg", "random", "center", "resize")
CORRUPT_POLICIES = ("fail", "skip")
TOKENIZERS = ("word", "wordpiece", "sentencepiece")


def validate(config: InputConfig, name: str = "input") -> None:
    """Checks every field's value.

    Args:
        config: one stream's or evaluator's input.
        name: where it stands in the experiment's configuration, for messages.

    Raises:
        UserError: naming the field, its value and what it may be.
    """
    if not config.datasets:
        raise UserError(f"{name}.datasets is empty; name at least one data set with its path")
    for key, dataset in config.datasets.items():
        _validate_dataset(dataset, f"{name}.datasets.{key}")
    _at_least(config, name, {"batch_size": 1, "num_labels": 0, "prefetch_batches": 1})
    _at_least(config, name, {"num_parallel_calls": 0})
    if all(part is None for part in (config.video, config.audio, config.text, config.prompted)):
        raise UserError(
            f"{name} reads no modality; set at least one of video, audio, text and prompted"
        )
    if config.video is not None:
        _validate_video(config.video, f"{name}.video")
    if config.audio is not None:
        _validate_audio(config.audio, config.video, f"{name}.audio")
    if config.text is not None:
        _validate_text(config.text, f"{name}.text")
    if config.prompted is not None:
        validate_prompted(config, name)


def _validate_dataset(dataset: DatasetConfig, name: str) -> None:
    if not dataset.path:
        raise UserError(f"{name}.path is empty; give a record folder or a glob of TFRecord files")
    if not 0 < dataset.weight < float("inf"):
        raise UserError(f"{name}.weight is {dataset.weight}; it must be greater than 0")
    _one_of(f"{name}.corrupt_policy", dataset.corrupt_policy, CORRUPT_POLICIES)
    _share(f"{name}.corrupt_share_limit", dataset.corrupt_share_limit)
    if not 0 < dataset.share <= 1:
        raise UserError(f"{name}.share is {dataset.share}; it must be above 0 and at most 1")
    for key in dataset.feature_names:
        if key not in contract.FEATURES:
            raise UserError(
                f"{name}.feature_names maps {key!r}, which is no key of ours; "
                f"the keys are {sorted(records.FEATURES)}"
            )


def _validate_video(video: VideoInputConfig, name: str) -> None:
    fields = ("num_frames", "frame_stride", "height", "width", "num_windows", "num_crops")
    _at_least(video, name, dict.fromkeys(fields, 1))
    _one_of(f"{name}.crop", video.crop, CROPS)
    _share(f"{name}.color_jitter_probability", video.color_jitter_probability)
    if video.num_crops not in (1, 3):
        raise UserError(f"{name}.num_crops is {video.num_crops}; it must be 1 or 3")


def _validate_audio(audio: AudioInputConfig, video: VideoInputConfig | None, name: str) -> None:
    _at_least(audio, name, dict.fromkeys(("num_samples", "sample_rate_hz", "sample_stride"), 1))
    _at_least(audio, name, {"num_windows": 0, "noise_std_share": 0})
    if video is not None and audio.num_windows not in (0, video.num_windows):
        raise UserError(
            f"{name}.num_windows is {audio.num_windows} and the video has {video.num_windows}; "
            "make them equal, or 0 to follow the video"
        )


def _validate_text(text: TextInputConfig, name: str) -> None:
    _at_least(text, name, dict.fromkeys(("num_candidates", "num_tokens"), 1))
    _one_of(f"{name}.tokenizer", text.tokenizer, TOKENIZERS)
    if not text.vocabulary:
        raise UserError(f"{name}.vocabulary is empty; name the vocabulary file")


def _at_least(config: object, name: str, lowest: dict[str, int]) -> None:
    for field, limit in lowest.items():
        value = getattr(config, field)
        if not limit <= value < float("inf"):
            raise UserError(f"{name}.{field} is {value}; it must be at least {limit}")


def _one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise UserError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"{name} is {value}; it must lie between 0 and 1")
