"""Progress of a job: items and media bytes done, from its counters or from its workers' files."""

import contextlib
import copy
import os
import pathlib
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter

from mm_models.progress import ProgressBar

NAMESPACE = "preprocess"
_ITEMS_DONE, _BYTES_DONE = "items_done", "media_bytes_done"
_WRITE_SECONDS = 0.5

Counts = Callable[[], tuple[int, int]]
"""Returns the items and the media bytes that are done."""


class WorkerProgress:
    """Says how many items and bytes a worker has done: in the job's counters, and in a small file.

    The engine on this machine tells the counters only at the end, hence the file.
    """

    def __init__(self, folder: str):
        """Writes a file in the local `folder`; none where that is empty."""
        self._path = pathlib.Path(folder, uuid.uuid4().hex) if folder else None
        self._items_done = Metrics.counter(NAMESPACE, _ITEMS_DONE)
        self._bytes_done = Metrics.counter(NAMESPACE, _BYTES_DONE)
        self._items = self._bytes = 0
        self._written = 0.0

    def add(self, num_bytes: int) -> None:
        """Counts one item."""
        self._items_done.inc()
        self._bytes_done.inc(num_bytes)
        self._items += 1
        self._bytes += num_bytes
        if time.monotonic() - self._written >= _WRITE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the counts."""
        if self._path is not None:
            self._written = time.monotonic()
            # Of fixed width and never cut, so that a reader always finds whole numbers.
            with open(self._path, "r+b" if self._path.exists() else "wb") as file:
                file.write(b"%020d %020d" % (self._items, self._bytes))


@contextlib.contextmanager
def progress_folder(is_local: bool) -> Iterator[str]:
    """A temporary folder for the workers' files; empty where workers run on other machines."""
    if not is_local:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="mmstack-progress-") as folder:
        yield folder


def counts_of_files(folder: str) -> tuple[int, int]:
    """Items and bytes that the workers' files say are done."""
    items = num_bytes = 0
    for entry in os.scandir(folder):
        with open(entry.path, encoding="ascii") as file:
            words = file.read().split()
        if len(words) == 2:  # A file that is just being written may be empty.
            items += int(words[0])
            num_bytes += int(words[1])
    return items, num_bytes


def counts_of_job(result: Any) -> tuple[int, int]:
    """Items and bytes that the counters of a running job say are done.

    Args:
        result: what Beam returned when the job started.
    """
    # Some results keep the first counters that they were asked for; a copy has none yet.
    found = copy.copy(result).metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    values = {counter.key.metric.name: counter.attempted for counter in found["counters"]}
    return values.get(_ITEMS_DONE) or 0, values.get(_BYTES_DONE) or 0


@contextlib.contextmanager
def watched(
    counts: Counts, total_bytes: int, progress: ProgressBar, pause_seconds: float
) -> Iterator[None]:
    """Shows the items done while a block runs.

    Args:
        counts: says what is done.
        total_bytes: media bytes of the job; 0 when unknown. Time left follows bytes where they are
            known, because the largest files go first.
        progress: shows it.
        pause_seconds: between two looks.
    """

    def watch() -> None:
        try:
            while not done.wait(pause_seconds):
                _update(progress, total_bytes, *counts())
            _update(progress, total_bytes, *counts())
        except Exception as error:  # Of any runner's kind; the job itself goes on.
            progress.say(f"progress is unknown: {type(error).__name__}: {error}")

    done, thread = threading.Event(), threading.Thread(target=watch, daemon=True)
    progress.start()
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        progress.finish()


def _update(progress: ProgressBar, total_bytes: int, items: int, num_bytes: int) -> None:
    progress.update(items, share=num_bytes / total_bytes if total_bytes else None)
