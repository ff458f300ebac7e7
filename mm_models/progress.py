"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from tqdm import tqdm

_REDRAW_SECONDS = 0.2
_BAR_FORMAT = "{bar:24} {desc}"


class _Bar(tqdm):
    """A bar of tqdm that starts no thread beside it."""

    monitor_interval = 0


class ProgressBar:
    """Counts what is done, and shows its rate, the time left and messages.

    A terminal gets a bar that is redrawn at most five times a second; anything else gets plain
    lines. Messages and tables stand on lines of their own.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        enabled: bool = True,
        stream: TextIO | None = None,
        line_seconds: float = 10.0,
    ):
        """Shows nothing before `start`.

        Args:
            total: how many there are.
            unit: what is counted, in the plural.
            enabled: whether anything is shown at all.
            stream: standard error by default, so that standard output stays clean.
            line_seconds: pause between plain lines; `math.inf` leaves them all to `show`.
        """
        self._total, self._unit, self._enabled = total, unit, enabled
        self._stream = stream or sys.stderr
        self._line_seconds = line_seconds
        self._bar: Any = None
        self._first = self._done = 0
        self._started = self._shown = time.monotonic()

    def start(self, done: int = 0) -> None:
        """Starts the clock, with `done` done before it."""
        self._first = self._done = done
        self._started = self._shown = time.monotonic()
        if self._enabled and self._stream.isatty():
            self._bar = _Bar(
                total=1.0,
                file=self._stream,
                bar_format=_BAR_FORMAT,
                dynamic_ncols=True,
                leave=False,
            )

    def update(self, done: int, note: str = "", *, share: float | None = None) -> None:
        """Counts, and shows it now and then; arguments as those of `show`."""
        self._done = done
        pause = self._line_seconds if self._bar is None else _REDRAW_SECONDS
        if time.monotonic() - self._shown >= pause:
            self.show(done, note, share=share)

    def show(self, done: int, note: str = "", *, share: float | None = None) -> None:
        """Counts, and redraws the bar or prints a plain line.

        Args:
            done: how many are done, those before the start included.
            note: ends the line.
            share: 0 to 1, how far the work is, where the count does not say so.
        """
        self._done, self._shown = done, time.monotonic()
        if share is None:
            share = (done - self._first) / max(self._total - self._first, 1)
        line = self._line(share) + (f", {note}" if note else "")
        if self._bar is None:
            self.say(line)
        else:
            self._bar.n = share
            self._bar.set_description_str(line)

    def say(self, text: str) -> None:
        """Prints a message."""
        if self._enabled:
            _Bar.write(text, file=self._stream)
            self._stream.flush()

    def table(self, title: str, scalars: Mapping[str, float]) -> None:
        """Prints scores, one a line."""
        lines = [f"  {name:<48} {value:.4f}" for name, value in sorted(scalars.items())]
        self.say("\n".join([title, *lines]))

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def finish(self) -> None:
        """Says how many are done, how long it took and at which rate."""
        self.close()
        seconds = time.monotonic() - self._started
        self.say(f"{self._counts()} in {seconds:.0f} s, {self._rate(seconds)}")

    def _line(self, share: float) -> str:
        seconds = self._shown - self._started
        line = f"{self._counts()}, {self._rate(seconds)}"
        if not 0 < share < 1:
            return line
        return f"{line}, {tqdm.format_interval(seconds * (1 - share) / share)} left"

    def _counts(self) -> str:
        return f"{self._done}/{self._total} {self._unit}"

    def _rate(self, seconds: float) -> str:
        return f"{(self._done - self._first) / max(seconds, 1e-9):.2f} {self._unit}/s"
