"""Checks of an input configuration against what the record folders hold."""

from mm_models.errors import UserError
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.reading.index import RecordIndex

# Enlarging frames further than this shows nothing but interpolation.
_MAX_ENLARGEMENT = 2.0


def open_indexes(config: InputConfig, name: str = "input") -> list[RecordIndex]:
    """Opens every data set of a stream, in the order of the configuration, and checks its media.

    Args:
        config: a validated input.
        name: where it stands in the experiment's configuration, for messages.

    Raises:
        UserError: nothing there, an empty split, a wrong sample rate, frames too small.
    """
    indexes = []
    for key, dataset in config.datasets.items():
        index = RecordIndex.open(dataset)
        _check_media(
            config, dataset, (index.info or {}).get("media") or {}, f"{name}.datasets.{key}"
        )
        indexes.append(index)
    return indexes


def _check_media(config: InputConfig, dataset: DatasetConfig, media: dict, name: str) -> None:
    stored_hz, short_side = media.get("sample_rate_hz"), media.get("short_side")
    if config.audio is not None and stored_hz:
        audio = config.audio
        if stored_hz != audio.sample_rate_hz * audio.sample_stride:
            raise UserError(
                f"{name}: {dataset.path} stores audio at {stored_hz} Hz and the input asks for "
                f"sample_rate_hz {audio.sample_rate_hz} times sample_stride {audio.sample_stride}; "
                "change one of them, or preprocess with --sample_rate_hz"
            )
    if config.video is not None and short_side:
        wanted = min(config.video.height, config.video.width)
        if wanted > _MAX_ENLARGEMENT * short_side:
            raise UserError(
                f"{name}: {dataset.path} stores frames with a short side of {short_side} pixels "
                f"and the input asks for {config.video.height}x{config.video.width}; "
                "ask for smaller frames, or preprocess with a larger --short_side"
            )
