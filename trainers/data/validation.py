"""Checks of an input configuration that need no files."""

from beam_pipelines.record import contract
from mm_models import checks
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
    checks.check_fields(config, 1, ("batch_size", "prefetch_batches"), name)
    checks.check_fields(config, 0, ("num_labels", "num_parallel_calls"), name)
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
    checks.check_positive(dataset.weight, f"{name}.weight")
    checks.check_choice(dataset.corrupt_policy, CORRUPT_POLICIES, f"{name}.corrupt_policy")
    checks.check_share(dataset.corrupt_share_limit, f"{name}.corrupt_share_limit")
    checks.check_part(dataset.share, f"{name}.share")
    for key in dataset.feature_names:
        if key not in contract.FEATURES:
            raise UserError(
                f"{name}.feature_names maps {key!r}, which is no key of ours; "
                f"the keys are {sorted(contract.FEATURES)}"
            )


def _validate_video(video: VideoInputConfig, name: str) -> None:
    fields = ("num_frames", "frame_stride", "height", "width", "num_windows", "num_crops")
    checks.check_fields(video, 1, fields, name)
    checks.check_choice(video.crop, CROPS, f"{name}.crop")
    checks.check_share(video.color_jitter_probability, f"{name}.color_jitter_probability")
    checks.check_choice(video.num_crops, (1, 3), f"{name}.num_crops")


def _validate_audio(audio: AudioInputConfig, video: VideoInputConfig | None, name: str) -> None:
    checks.check_fields(audio, 1, ("num_samples", "sample_rate_hz", "sample_stride"), name)
    checks.check_fields(audio, 0, ("num_windows", "noise_std_share"), name)
    if video is not None and audio.num_windows not in (0, video.num_windows):
        raise UserError(
            f"{name}.num_windows is {audio.num_windows} and the video has {video.num_windows}; "
            "make them equal, or 0 to follow the video"
        )


def _validate_text(text: TextInputConfig, name: str) -> None:
    checks.check_fields(text, 1, ("num_candidates", "num_tokens"), name)
    checks.check_choice(text.tokenizer, TOKENIZERS, f"{name}.tokenizer")
    if not text.vocabulary:
        raise UserError(f"{name}.vocabulary is empty; name the vocabulary file")
