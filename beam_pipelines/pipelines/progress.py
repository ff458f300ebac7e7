"""Progress of a local job, from the small files its workers write."""

import os
import sys
import threading
import time
from typing import TextIO

_TERMINAL_EVERY_SECONDS = 1.0
_PIPED_EVERY_SECONDS = 10.0


class Progress:
    """Prints items done, rate and time left while a block runs; `folder` None prints nothing.

    Args:
        folder: local folder with one file per worker: "items bytes".
        total_items: items of the job.
        total_bytes: media bytes of the job; 0 when unknown. Time left follows bytes where they are
            known, because the largest files go first.
    """

    def __init__(
        self, folder: str | None, total_items: int, total_bytes: int, stream: TextIO | None = None
    ):
        self._folder = folder
        self._total_items = total_items
        self._total_bytes = total_bytes
        self._stream = stream or sys.stderr
        self._done = threading.Event()
        self._start = time.monotonic()

    def __enter__(self) -> "Progress":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if self._folder is not None:
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        if self._folder is not None:
            self._thread.join()
            self._print(*self._read(), last=True)

    def _watch(self) -> None:
        every = _TERMINAL_EVERY_SECONDS if self._stream.isatty() else _PIPED_EVERY_SECONDS
        while not self._done.wait(every):
            self._print(*self._read(), last=False)

    def _read(self) -> tuple[int, int]:
        items = num_bytes = 0
        for entry in os.scandir(self._folder):
            with open(entry.path, encoding="ascii") as file:
                words = file.read().split()
            if len(words) == 2:  # A file that is just being written may be empty.
                items += int(words[0])
                num_bytes += int(words[1])
        return items, num_bytes

    def _print(self, items: int, num_bytes: int, *, last: bool) -> None:
        line = progress_line(
            items,
            self._total_items,
            self._share(items, num_bytes),
            time.monotonic() - self._start,
        )
        if self._stream.isatty():
            self._stream.write(f"\r{line}\x1b[K" + ("\n" if last else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _share(self, items: int, num_bytes: int) -> float:
        if self._total_bytes:
            return num_bytes / self._total_bytes
        return items / max(self._total_items, 1)


def progress_line(items: int, total_items: int, share: float, seconds: float) -> str:
    """`120/4000 items, 55.0 items/s, 70 s left`."""
    line = f"{items}/{total_items} items, {items / max(seconds, 1e-9):.1f} items/s"
    if items >= total_items:
        return f"{line}, {seconds:.1f} s"
    if share > 0:
        line += f", {seconds * (1 - share) / share:.0f} s left"
    return line
