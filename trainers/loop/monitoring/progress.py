"""One line of progress on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Mapping
from typing import TextIO


class Progress:
    """Step, rate, time left and loss.

    On a terminal the line is redrawn at most five times a second; elsewhere a line is printed per
    log.
    """

    _REDRAW_SECONDS = 0.2
    _BAR_WIDTH = 24

    def __init__(self, total_steps: int, *, enabled: bool = True, stream: TextIO | None = None):
        """Writes to standard error, so that standard output stays clean."""
        self._total = total_steps
        self._stream = stream or sys.stderr
        self._enabled = enabled
        self._terminal = self._stream.isatty()
        self._start: tuple[int, float] | None = None
        self._drawn_at = 0.0
        self._width = 0

    def start(self, step: int) -> None:
        """Starts the clock at `step`."""
        self._start = (step, time.perf_counter())

    def update(self, step: int, loss: float) -> None:
        """Redraws the terminal's line."""
        now = time.perf_counter()
        if self._enabled and self._terminal and now - self._drawn_at >= self._REDRAW_SECONDS:
            self._drawn_at = now
            filled = int(self._BAR_WIDTH * min(step / self._total, 1.0))
            bar = "█" * filled + "░" * (self._BAR_WIDTH - filled)
            line = f"{bar} {self._describe(step, loss)}"
            self._stream.write("\r" + line.ljust(self._width))
            self._stream.flush()
            self._width = len(line)

    def log(self, step: int, loss: float) -> None:
        """Prints a plain line when the output is no terminal."""
        if not self._terminal:
            self.say(self._describe(step, loss))

    def say(self, text: str) -> None:
        """Prints a message on a line of its own."""
        if not self._enabled:
            return
        if self._terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0
        self._stream.write(text + "\n")
        self._stream.flush()

    def table(self, title: str, scalars: Mapping[str, float]) -> None:
        """Prints scores, one a line."""
        lines = [f"  {name:<48} {value:.4f}" for name, value in sorted(scalars.items())]
        self.say("\n".join([title, *lines]))

    def _describe(self, step: int, loss: float) -> str:
        first, started = self._start or (step, time.perf_counter())
        rate = (step - first) / max(time.perf_counter() - started, 1e-9)
        left = _clock((self._total - step) / rate) if rate > 0 else "?"
        return f"step {step}/{self._total}  loss {loss:.4f}  {rate:.2f} steps/s  {left} left"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
