"""Progress with rate and remaining time: one moving line on a terminal, plain lines elsewhere."""

import sys
import time
from typing import TextIO

_PLAIN_SECONDS = 10.0
_TERMINAL_SECONDS = 0.2


class Progress:
    """Counts clips and prints how far the work is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._total = self._done = self._already = 0
        self._started = self._shown = time.monotonic()

    def start(self, total: int, already_done: int) -> None:
        """Begins a job of `total` clips of which an earlier run made `already_done`."""
        self._total, self._done, self._already = total, already_done, already_done
        self._started = self._shown = time.monotonic()
        if already_done:
            self._print(f"continuing after {already_done} of {total} clips", last=True)

    def advance(self, num_clips: int) -> None:
        """Counts finished clips, and prints now and then."""
        self._done += num_clips
        now = time.monotonic()
        pause = _TERMINAL_SECONDS if self._is_terminal else _PLAIN_SECONDS
        if now - self._shown >= pause:
            self._shown = now
            rate = (self._done - self._already) / max(now - self._started, 1e-9)
            left = (self._total - self._done) / max(rate, 1e-9)
            self._print(f"{self._done}/{self._total} clips, {rate:.1f} clips/s, {left:.0f} s left")

    def finish(self) -> None:
        """Prints the total."""
        seconds = time.monotonic() - self._started
        rate = (self._done - self._already) / max(seconds, 1e-9)
        self._print(f"{self._done} clips in {seconds:.0f} s, {rate:.1f} clips/s", last=True)

    def _print(self, text: str, last: bool = False) -> None:
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K{text}" + ("\n" if last else ""))
        else:
            self._stream.write(text + "\n")
        self._stream.flush()
