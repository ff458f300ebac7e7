"""Tokens of an example, from the config of a model alone."""

import math
from collections.abc import Mapping, Sequence

from mm_models import checks
from mm_models.errors import UserError
from mm_models.imp import config as imp_config
from mm_models.imp.config import ImpConfig
from mm_models.imp.tokens import DEFAULT_PATCH, num_dropped_to


def _video_grid(config: ImpConfig, shape: Sequence[int], patch: str) -> tuple[int, ...]:
    if patch not in config.video.patches:
        raise UserError(
            f"video has no patches named {patch!r}; it has {sorted(config.video.patches)}"
        )
    frames, height, width = shape[-4:-1]
    t, h, w = config.video.patches[patch]
    for axis, size, length in (("height", height, h), ("width", width, w)):
        checks.check_divides(size, length, f"video {axis}", f"video.patches.{patch}")
    return (-(-frames // t), height // h, width // w)


def _grid(config: ImpConfig, modality: str, shape: Sequence[int], patch: str) -> tuple[int, ...]:
    if modality == "text":
        return (shape[-1],)
    if modality == "video":
        return _video_grid(config, shape, patch)
    if modality == "waveform":
        return (shape[-1] // config.waveform.patch_samples,)
    # TensorFlow takes seconds to import, and only models of sounds need it here.
    from mm_models.signal import spectrogram

    audio = config.audio
    num_frames = spectrogram.num_frames(shape[-1], audio.log_mel)
    return (num_frames // audio.patch[0], audio.num_bins // audio.patch[1])


def _checked_grid(config, modality, shape, patch) -> tuple[int, ...]:
    """Tokens along each axis. Raises UserError where a position table is too short for them."""
    tables = {
        "text": ("text.max_tokens", [config.text.max_tokens]),
        "video": ("video.table_rows", config.video.table_rows),
        "audio": ("audio.table_rows", config.audio.table_rows),
        "waveform": ("waveform.table_rows", [config.waveform.table_rows]),
    }
    field, rows = tables[modality]
    grid = _grid(config, modality, shape, patch)
    if any(size > most for size, most in zip(grid, rows, strict=True)):
        raise UserError(
            f"{modality} of shape {tuple(shape)} has {grid} tokens along its axes, more than "
            f"{field} = {rows} allows; take larger patches, or longer tables"
        )
    if not math.prod(grid):
        raise UserError(
            f"{modality} of shape {tuple(shape)} holds no whole patch; give longer inputs or take "
            "smaller patches"
        )
    return grid


def num_instances(modality: str, shape: Sequence[int]) -> int:
    """Instances in one example of this shape (without the batch axis): 1 without such an axis."""
    rank = 4 if modality == "video" else 1
    return math.prod(shape[: len(shape) - rank])


def num_tokens(
    config: ImpConfig,
    modality: str,
    shape: Sequence[int],
    *,
    drop_rate: float = 0.0,
    patch: str = DEFAULT_PATCH,
) -> int:
    """Tokens of one instance inside the encoder.

    Args:
        config: ImpConfig.
        modality: whose.
        shape: of one example, with or without the axis of instances.
        drop_rate: share of the tokens left out.
        patch: name of the patches of videos.

    Raises:
        UserError: unknown patch, patches that do not fit, tables that are too short, or nothing is
            left.
    """
    config = imp_config.resolve(config)
    tokens = num_dropped_to(
        math.prod(_checked_grid(config, modality, shape, patch)), drop_rate, modality
    )
    return tokens + (1 if config.pooling == "token" else 0)


def tokens_per_example(
    config: ImpConfig,
    shapes: Mapping[str, Sequence[int]],
    *,
    drop_token: Mapping[str, float] | None = None,
    patch: str = DEFAULT_PATCH,
) -> int:
    """Tokens that the encoder processes for one example.

    Args:
        config: ImpConfig.
        shapes: modality to the shape of one example's input without the batch axis, such as
            {"video": (16, 256, 256, 3), "text": (1, 16)}.
        drop_token: share of the tokens left out, by modality, in training.
        patch: name of the patches of videos.
    """
    return sum(
        num_instances(modality, shape)
        * num_tokens(
            config, modality, shape, drop_rate=(drop_token or {}).get(modality, 0.0), patch=patch
        )
        for modality, shape in shapes.items()
    )
