"""Checks of a VATT experiment that need no model, and the meaning of its presets."""

from typing import Any

from mm_models import checks
from mm_models.errors import UserError
from mm_models.losses.contrastive import DENOMINATORS
from mm_models.vatt import config as model_config
from trainers.data.config import InputConfig
from trainers.data.parts.audio.config import AudioInputConfig

NORMALIZATIONS = ("mean", "sum")
PATCH = "the model's patch"


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
    checks.check_choice(normalization(config), NORMALIZATIONS, "task.loss_normalization")
    if config.denominator is not None:
        checks.check_choice(config.denominator, DENOMINATORS, "task.denominator")
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
    checks.check_positive(config.temperature, "task.temperature")
    weights = ("video_audio_weight", "video_text_weight", "audio_text_weight")
    checks.check_fields(config, 0, weights, "task")


def check_stream(config: Any, name: str, inputs: InputConfig) -> None:
    """Raises UserError when the stream's shapes do not fit the model's towers."""
    model = model_config.resolve(config.model)
    for modality in ("video", "audio", "text"):
        if modality in inputs.parts and modality not in model.modalities:
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
            size = getattr(inputs.video, field)
            checks.check_divides(size, patch, f"streams.{name}.input.video.{field}", PATCH)
    if inputs.audio is not None:
        _check_audio(f"streams.{name}.input.audio", inputs.audio, model.audio)
    if inputs.text is not None and inputs.text.num_tokens != model.text.num_tokens:
        raise UserError(
            f"streams.{name}.input.text.num_tokens is {inputs.text.num_tokens}, but "
            f"task.model.text.num_tokens is {model.text.num_tokens}; make them equal"
        )


def _check_audio(field: str, inputs: AudioInputConfig, tower: Any) -> None:
    if tower.input == "waveform":
        checks.check_divides(inputs.num_samples, tower.patch_samples, f"{field}.num_samples", PATCH)
    elif inputs.sample_rate_hz != tower.sample_rate_hz:
        raise UserError(
            f"{field}.sample_rate_hz is {inputs.sample_rate_hz}, but the model's spectrograms are "
            f"for task.model.audio.sample_rate_hz = {tower.sample_rate_hz}; make them equal"
        )
