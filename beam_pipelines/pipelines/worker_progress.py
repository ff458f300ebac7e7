"""Progress of a local job, through small files that its workers write."""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterator

from beam_pipelines import files
from mm_models.progress import ProgressBar

_WRITE_SECONDS = 0.5


class ProgressFile:
    """A small file in which a worker says how many items and bytes it has done."""

    def __init__(self, folder: str):
        self._path = None if files.is_remote(folder) else os.path.join(folder, uuid.uuid4().hex)
        self._items = self._bytes = 0
        self._written = 0.0

    def add(self, num_bytes: int) -> None:
        """Counts one item."""
        self._items += 1
        self._bytes += num_bytes
        if time.monotonic() - self._written >= _WRITE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the counts."""
        if self._path is not None:
            self._written = time.monotonic()
            # Of fixed width and never cut, so that a reader always finds whole numbers.
            with open(self._path, "r+b" if os.path.exists(self._path) else "wb") as file:
                file.write(b"%020d %020d" % (self._items, self._bytes))


@contextlib.contextmanager
def watched(folder: str, total_bytes: int, progress: ProgressBar) -> Iterator[None]:
    """Shows the items done while a block runs.

    Args:
        folder: local folder with a `ProgressFile` per worker.
        total_bytes: media bytes of the job; 0 when unknown. Time left follows bytes where they are
            known, because the largest files go first.
        progress: shows it.
    """

    def update() -> None:
        items, num_bytes = _counts(folder)
        progress.update(items, share=num_bytes / total_bytes if total_bytes else None)

    def watch() -> None:
        while not done.wait(_WRITE_SECONDS):
            update()

    done, thread = threading.Event(), threading.Thread(target=watch, daemon=True)
    progress.start()
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        update()
        progress.finish()


def _counts(folder: str) -> tuple[int, int]:
    items = num_bytes = 0
    for entry in os.scandir(folder):
        with open(entry.path, encoding="ascii") as file:
            words = file.read().split()
        if len(words) == 2:  # A file that is just being written may be empty.
            items += int(words[0])
            num_bytes += int(words[1])
    return items, num_bytes
