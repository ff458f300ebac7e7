"""What one pass over a file is asked for, and a decoded window."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from beam_pipelines.media.container import Rejection
from beam_pipelines.media.decode_contract import DecodeRequest, MediaInfo
from beam_pipelines.media.source_properties import SourceProperty
from beam_pipelines.media.windows import WindowFrames
from beam_pipelines.rejects import Reject, RejectCode


@dataclasses.dataclass(frozen=True)
class DecodePlan:
    """What to decode and for which windows.

    Attributes:
        request: form and limits.
        windows: start and end (None: to the end) in seconds.
        finish: turns uint8[height, width, 3] into what a clip keeps; called once per frame.
    """

    request: DecodeRequest
    windows: Sequence[tuple[float, float | None]]
    finish: Callable[[np.ndarray], object]

    @functools.cached_property
    def first_seconds(self) -> float:
        return min(start for start, _ in self.windows)

    @functools.cached_property
    def last_seconds(self) -> float | None:
        """Where decoding may stop; None is the end of the file."""
        ends = [end for _, end in self.windows]
        return None if None in ends else max(ends)

    def frame_windows(self) -> list[WindowFrames]:
        rate = self.request.frame_rate_hz
        return [WindowFrames(start, end, rate) for start, end in self.windows]

    def check_length(self, duration_seconds: float | None) -> None:
        """Raises Rejection when a window covers more media than the request allows."""
        limit = self.request.max_seconds
        for start, end in self.windows:
            ends = [value for value in (end, duration_seconds) if value is not None]
            if ends and min(ends) - start > limit:
                detail = f"{min(ends) - start:.1f} s, the limit is {limit:g} s"
                raise Rejection(RejectCode.TOO_LONG, detail)


@dataclasses.dataclass
class DecodedClip:
    """One decoded window: finished frames, times, waveform."""

    frames: list
    times: list[float]
    waveform: np.ndarray | None
    sample_rate_hz: int
    info: MediaInfo
    warnings: list[str]
    properties: set[SourceProperty]


def after_end(start: float) -> Reject:
    """The reject of a window that begins behind the media."""
    return Reject(RejectCode.TOO_SHORT, f"the media ends before {start:.3f} s")
