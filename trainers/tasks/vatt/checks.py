"""Checks of a VATT experiment that need no model, and the meaning of its presets."""

from typing import Any

from mm_models.errors import UserError
from mm_models.losses.contrastive import DENOMINATORS
from mm_models.vatt import config as model_config
from trainers.data.config import AudioInputConfig, InputConfig

NORMALIZATIONS = ("mean", "sum")


def normalization(config: Any) -> str:
    """`mean` or `sum`: the configured one, or that of the model's preset."""
    if config.loss_normalization is not None:
        return config.loss_normalization
    return "sum" if config.model.preset == "paper" else "mean"


def denominator(config: Any) -> str:
    """How often a row's own pairs count in its denominator: configured, or the preset's way."""
    if config.denominator is not None:
        return config.denominator
    return model_config.PRESET_DENOMINATORS[config.model.preset]


def masks_captions(config: Any) -> bool:
    """Whether missing captions are left out of the positives."""
    if config.mask_missing_captions is not None:
        return config.mask_missing_captions
    return config.model.preset != "reference_code"


def check_values(config: Any) -> None:
    """Raises UserError for values of a VattTaskConfig that cannot work."""
    if normalization(config) not in NORMALIZATIONS:
        raise UserError(
            f"task.loss_normalization is {config.loss_normalization!r}; choose one of "
            f"{list(NORMALIZATIONS)}"
        )
    if config.denominator is not None:
        if config.denominator not in DENOMINATORS:
            raise UserError(
                f"task.denominator is {config.denominator!r}; choose one of {list(DENOMINATORS)}"
            )
        if config.symmetric:
            raise UserError(
                f"task.denominator is {config.denominator!r}, but task.symmetric has every pair "
                "once in each of its sets; leave task.denominator null, or symmetric false"
            )
    if config.word_vectors is not None and "text" not in config.model.modalities:
        raise UserError(
            f"task.word_vectors is {config.word_vectors!r}, but task.model.modalities has no text; "
            "add it there, or leave the vectors out"
        )
    if config.temperature <= 0:
        raise UserError(f"task.temperature is {config.temperature}; it must be above 0")
    for name in ("video_audio_weight", "video_text_weight", "audio_text_weight"):
        if getattr(config, name) < 0:
            raise UserError(f"task.{name} is {getattr(config, name)}; it must not be negative")


def check_stream(config: Any, name: str, inputs: InputConfig) -> None:
    """Raises UserError when the stream's shapes do not fit the model's towers."""
    model = model_config.resolve(config.model)
    for modality in ("video", "audio", "text"):
        if getattr(inputs, modality) is not None and modality not in model.modalities:
            raise UserError(
                f"streams.{name}.input.{modality} is read, but task.model.modalities is "
                f"{model.modalities}; add {modality} there or set the input to null"
            )
    if inputs.video is not None:
        for field, patch in (
            ("num_frames", model.video.patch_frames),
            ("height", model.video.patch_height),
            ("width", model.video.patch_width),
        ):
            _check_divides(
                f"streams.{name}.input.video.{field}", getattr(inputs.video, field), patch
            )
    if inputs.audio is not None:
        _check_audio(f"streams.{name}.input.audio", inputs.audio, model.audio)
    if inputs.text is not None and inputs.text.num_tokens != model.text.num_tokens:
        raise UserError(
            f"streams.{name}.input.text.num_tokens is {inputs.text.num_tokens}, but "
            f"task.model.text.num_tokens is {model.text.num_tokens}; make them equal"
        )


def _check_audio(field: str, inputs: AudioInputConfig, tower: Any) -> None:
    if tower.input == "waveform":
        _check_divides(f"{field}.num_samples", inputs.num_samples, tower.patch_samples)
    elif inputs.sample_rate_hz != tower.sample_rate_hz:
        raise UserError(
            f"{field}.sample_rate_hz is {inputs.sample_rate_hz}, but the model's spectrograms are "
            f"for task.model.audio.sample_rate_hz = {tower.sample_rate_hz}; make them equal"
        )


def _check_divides(field: str, size: int, patch: int) -> None:
    if size < patch or size % patch:
        raise UserError(
            f"{field} is {size}, which the model's patch of {patch} does not divide; change either"
        )
