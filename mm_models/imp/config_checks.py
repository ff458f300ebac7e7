"""What an IMP config may say: choices, ranges, and what fits together."""

import dataclasses
from typing import Any

from mm_models import checks
from mm_models.errors import UserError
from mm_models.layers.mixture_of_experts.options import ExpertOptions

MODALITIES = ("video", "audio", "waveform", "text")
PLACEMENTS = ("last", "uniform")
SPACES = ("disjoint", "joint")
TEMPERATURES = ("clip", "relu")
POOLINGS = ("mean", "max", "sum", "token")


def expert_options(config: Any) -> ExpertOptions:
    """Routing of a resolved ImpConfig that has experts. Raises UserError for what it cannot be."""
    return ExpertOptions(num_experts=config.num_experts, **dataclasses.asdict(config.experts))


def check(config: Any) -> None:
    """Raises UserError for what a resolved ImpConfig cannot say."""
    _check_encoder(config)
    if config.num_experts:
        _check_experts(config)
    _check_modalities(config)
    _check_inputs(config)
    _check_outputs(config)


def _check_encoder(config: Any) -> None:
    for name in ("num_layers", "dim", "num_heads", "mlp_dim"):
        checks.check_positive(getattr(config, name), name)
    checks.check_divides(config.dim, config.num_heads, "dim", "num_heads")
    checks.check_rate(config.dropout_rate, "dropout_rate")
    if config.num_experts < 0 or config.num_experts == 1:
        raise UserError(
            f"num_experts is {config.num_experts}; it must be 0 for none, or at least 2"
        )


def _check_experts(config: Any) -> None:
    checks.check_choice(config.expert_placement, PLACEMENTS, "expert_placement")
    expert_options(config)
    if not 1 <= config.num_expert_layers <= config.num_layers:
        raise UserError(
            f"num_expert_layers is {config.num_expert_layers}; it must be from 1 to num_layers = "
            f"{config.num_layers}"
        )
    if config.expert_placement == "uniform":
        checks.check_divides(
            config.num_layers, config.num_expert_layers, "num_layers", "num_expert_layers"
        )


def _check_modalities(config: Any) -> None:
    for modality in config.modalities:
        checks.check_choice(modality, MODALITIES, "modalities")
    if len(set(config.modalities)) != len(config.modalities) or not config.modalities:
        raise UserError(
            f"modalities is {list(config.modalities)}; name each one once, at least one"
        )


def _check_inputs(config: Any) -> None:
    video, audio = config.video, config.audio
    if "default" not in video.patches:
        raise UserError(
            f"video.patches names {sorted(video.patches)}; one must be called 'default'"
        )
    for name, patch in video.patches.items():
        checks.check_lengths(patch, 3, f"video.patches.{name}")
    checks.check_lengths(video.table_rows, 3, "video.table_rows")
    checks.check_lengths(audio.patch, 2, "audio.patch")
    checks.check_lengths(audio.table_rows, 2, "audio.table_rows")
    checks.check_choice(audio.scaling, ("min_max", "standard"), "audio.scaling")
    checks.check_choice(audio.transform, ("fft", "matrix"), "audio.transform")
    checks.check_divides(audio.num_bins, audio.patch[1], "audio.num_bins", "audio.patch[1]")
    for name in ("sample_rate_hz", "window_ms", "step_ms"):
        checks.check_positive(getattr(audio, name), f"audio.{name}")
    if not 0 <= audio.low_hz < audio.high_hz <= audio.sample_rate_hz / 2:
        raise UserError(
            f"audio.low_hz is {audio.low_hz} and audio.high_hz {audio.high_hz}; they must rise and "
            f"stay below half of audio.sample_rate_hz = {audio.sample_rate_hz}"
        )
    for name in ("patch_samples", "table_rows"):
        checks.check_positive(getattr(config.waveform, name), f"waveform.{name}")
    for name in ("vocabulary_size", "max_tokens", "initial_stddev"):
        checks.check_positive(getattr(config.text, name), f"text.{name}")


def _check_outputs(config: Any) -> None:
    checks.check_choice(config.pooling, POOLINGS, "pooling")
    checks.check_choice(config.space.kind, SPACES, "space.kind")
    checks.check_choice(config.temperature.kind, TEMPERATURES, "temperature.kind")
    for name in ("dim", "hidden_dim"):
        checks.check_positive(getattr(config.space, name), f"space.{name}")
    for name in ("initial", "floor"):
        checks.check_positive(getattr(config.temperature, name), f"temperature.{name}")
    for name, num_classes in config.classifiers.items():
        checks.check_positive(num_classes, f"classifiers.{name}")
        if not name.isidentifier():
            raise UserError(f"classifiers.{name} must be named with letters, digits and '_'")
