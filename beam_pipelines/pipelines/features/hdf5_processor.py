"""Segments of HDF5 files → records with features. Knows no Beam."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from beam_pipelines.pipelines.features.features_job import GridConfig
from beam_pipelines.pipelines.features.hdf5_files import (
    FEATURES,
    Segment,
    SegmentGroup,
    captions_of,
    opened,
)
from beam_pipelines.pipelines.features.pooling import pool_maps
from beam_pipelines.pipelines.features.record_processor import outcome_of, too_small
from beam_pipelines.pipelines.features.stored_arrays import steps_of_array
from beam_pipelines.pipelines.preprocess_item import ItemOutcome
from beam_pipelines.record.clip import RecordClip, record_values
from beam_pipelines.record.clip_features import ClipFeatures
from beam_pipelines.rejects import Reject, RejectCode


class Hdf5Processor:
    """Reads stored features; use as a context manager.

    Args:
        grid: what is kept of them.
        encoder: what records name as the encoder.
        dim: numbers that every region has.
    """

    def __init__(self, grid: GridConfig, encoder: str, dim: int):
        self._grid, self._encoder, self._dim = grid, encoder, dim

    def __enter__(self) -> "Hdf5Processor":
        return self

    def __exit__(self, *exc_info) -> None:
        return None

    def outcomes(self, group: SegmentGroup) -> Iterator[tuple[ItemOutcome, int]]:
        """What becomes of each segment, and the bytes of its features. Raises UserError for a file
        that can no longer be read."""
        with opened(group.path) as file:
            for segment in group.segments:
                yield self._outcome(file, group, segment)

    def _outcome(self, file: Any, group: SegmentGroup, segment: Segment) -> tuple[ItemOutcome, int]:
        media = f"{group.path.rsplit('/', 1)[-1]}/{segment.id}"
        values = self._values(file, segment)
        captions = read_captions(file, segment)
        for found in (values, captions):
            if isinstance(found, Reject):
                line = {"code": str(found.code), "detail": found.detail}
                rejected = {"id": segment.id, "media": media, **line}
                return ItemOutcome(group.split, rejects=[rejected]), 0
        starts_us = [round(step * 1e6 / self._grid.rate_hz) for step in range(len(values) + 1)]
        clip = _clip(segment, media, captions, starts_us.pop() / 1e6)
        context, lists = record_values(clip, audio_encoding="floats", nearest_captions=0)
        features = ClipFeatures(values, starts_us, self._grid.rate_hz, self._encoder)
        return outcome_of(group.split, context, lists, features), values.nbytes

    def _values(self, file: Any, segment: Segment) -> np.ndarray | Reject:
        """float32[steps, rows, columns, dim] of a segment, or why there are none."""
        if segment.is_duplicate:
            return Reject(RejectCode.DUPLICATE_ID, f"an earlier segment is called {segment.id}")
        steps = read_steps(file, segment)
        if isinstance(steps, Reject):
            return steps
        if steps.shape[3] != self._dim:
            detail = f"its features have {steps.shape[3]} numbers, others have {self._dim}"
            return Reject(RejectCode.BAD_FEATURES, detail)
        if fault := too_small(steps.shape[1:3], self._grid):
            return Reject(RejectCode.TOO_SMALL, fault)
        return pool_maps(steps, self._grid.rows, self._grid.columns)


def read_steps(file: Any, segment: Segment) -> np.ndarray | Reject:
    """float32[steps, rows, columns, dim] as a file has them, or why there are none."""
    group = file[segment.video][segment.name]
    if FEATURES not in group:
        return Reject(RejectCode.FILE_MISSING, f"the segment has no {FEATURES}")
    try:
        return steps_of_array(np.asarray(group[FEATURES][()]))
    except ValueError as error:
        return Reject(RejectCode.BAD_FEATURES, f"its {FEATURES} cannot be used: {error}")
    except (OSError, RuntimeError, TypeError) as error:
        return Reject(RejectCode.CORRUPT_CONTAINER, f"its {FEATURES} cannot be read: {error}")


def read_captions(file: Any, segment: Segment) -> list[str] | Reject:
    """Captions of a segment, or why they are no text."""
    try:
        return captions_of(file[segment.video], segment.captions_of)
    except ValueError as error:
        return Reject(RejectCode.BAD_CAPTIONS, f"its captions cannot be used: {error}")
    except (OSError, RuntimeError, TypeError) as error:
        return Reject(RejectCode.CORRUPT_CONTAINER, f"its captions cannot be read: {error}")


def _clip(segment: Segment, media: str, captions: list[str], seconds: float) -> RecordClip:
    """A clip without frames and sound."""
    return RecordClip(
        key=f"{segment.id}#0",
        item={"media": media, "captions": [{"text": text} for text in captions]},
        media_sha256="",
        start_seconds=0.0,
        end_seconds=seconds,
        frames_jpeg=[],
        frame_times_seconds=np.zeros(0),
        height=0,
        width=0,
        frame_rate_hz=0.0,
        waveform=None,
        sample_rate_hz=0,
        peak=0.0,
        source_properties=(),
    )
