"""Frames and samples that stream by are collected into time windows."""

import math
from collections.abc import Callable

import numpy as np

_ROUNDING_SECONDS = 1e-6
_MAX_TOLERANCE_SECONDS = 1e-3


class SourceFrame:
    """A decoded frame that is converted at most once, when a window first needs it.

    Attributes:
        seconds: presentation time from the start of the media.
    """

    def __init__(self, seconds: float, convert: Callable[[], object]):
        self.seconds = seconds
        self._convert = convert
        self._value = None

    def value(self) -> object:
        if self._convert is not None:
            self._value, self._convert = self._convert(), None
        return self._value


class WindowFrames:
    """The frames of one window.

    With a rate, frames lie on the grid `start + k / rate`, and each grid point shows the latest
    source frame at or before it (what a player would show). Before the first source frame there
    is none, so the first one stands there too. Without a rate every source frame is kept.
    """

    def __init__(self, start: float, end: float | None, rate: float | None):
        self.start = start
        self.end = math.inf if end is None else end
        self._rate = rate
        self.times: list[float] = []
        self.frames: list[SourceFrame] = []

    @property
    def values(self) -> list[object]:
        return [frame.value() for frame in self.frames]

    def show(self, frame: SourceFrame, until: float, tolerance: float) -> None:
        """`frame` is on screen from its own time (or from before) to `until`, seconds."""
        if self._rate is None:
            if self.start - tolerance <= frame.seconds < self.end - tolerance:
                self._keep(frame, frame.seconds)
            return
        while frame.seconds < self.end - tolerance:
            grid_seconds = self.start + len(self.times) / self._rate
            if grid_seconds >= min(until, self.end) - tolerance:
                return
            self._keep(frame, grid_seconds)

    def _keep(self, frame: SourceFrame, seconds: float) -> None:
        frame.value()  # now: the decoder may reuse the picture's memory
        self.times.append(seconds)
        self.frames.append(frame)


class FrameGrid:
    """Hands each frame to the windows it is shown in, given the frame that follows it."""

    def __init__(self, windows: list[WindowFrames], time_base_seconds: float):
        self._waiting = sorted(windows, key=lambda window: window.start, reverse=True)
        self._active: list[WindowFrames] = []
        self._previous: SourceFrame | None = None
        # Containers round times to their tick; a frame rounded up must still meet its grid point.
        half_tick = min(time_base_seconds / 2, _MAX_TOLERANCE_SECONDS)
        self.tolerance = half_tick + _ROUNDING_SECONDS

    def add(self, frame: SourceFrame) -> None:
        """Takes the next frame in order of time."""
        if self._previous is not None:
            self._show(self._previous, frame.seconds)
        self._previous = frame

    def finish(self, end_seconds: float) -> None:
        """The last frame is shown until `end_seconds`."""
        if self._previous is not None:
            self._show(self._previous, end_seconds)
            self._previous = None

    def _show(self, frame: SourceFrame, until: float) -> None:
        while self._waiting and self._waiting[-1].start < until - self.tolerance:
            self._active.append(self._waiting.pop())
        for window in self._active:
            window.show(frame, until, self.tolerance)
        self._active = [w for w in self._active if w.end > until + self.tolerance]


class WindowSamples:
    """The waveform of one window: silence where sound has not begun, short where it has ended."""

    def __init__(self, start: float, end: float | None, rate: int):
        self._first = round(start * rate)
        self._last = None if end is None else round(end * rate)
        self._chunks: list[tuple[int, np.ndarray]] = []

    def add(self, position: int, samples: np.ndarray) -> None:
        """`samples: float32[samples]` of which the first is number `position` of the media."""
        begin = max(self._first - position, 0)
        end = len(samples) if self._last is None else min(self._last - position, len(samples))
        if end > begin:
            self._chunks.append((position + begin - self._first, samples[begin:end].copy()))

    def cut(self, position: int) -> None:
        """Drops what lies at or after sample number `position` of the media."""
        last = max(position, self._first)
        self._last = last if self._last is None else min(self._last, last)

    def _covered(self) -> int:
        covered = max((offset + len(chunk) for offset, chunk in self._chunks), default=0)
        return covered if self._last is None else min(covered, self._last - self._first)

    def waveform(self) -> np.ndarray | None:
        """float32[samples] as decoded, not limited; None when no sound falls into the window."""
        length = self._covered()
        if not length:
            return None
        waveform = np.zeros(length, np.float32)
        for offset, chunk in self._chunks:
            waveform[offset : offset + len(chunk)] = chunk[: max(length - offset, 0)]
        return waveform
