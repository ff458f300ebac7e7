"""Lines of a manifest on their way to the workers.

They travel as text, in files of a few megabytes that are each read once, so that a manifest of any
size is neither part of the job's graph nor opened by every worker.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from beam_pipelines import files
from beam_pipelines.items import manifest
from mm_models.errors import UserError

_PART_BYTES = 4 << 20
_MAX_LINES_PER_GROUP = 16
_GROUPS_PER_WORKER = 16


class LineText(NamedTuple):
    """A line of the manifest.

    Attributes:
        text: its bytes.
        is_duplicate: an earlier line has the same id.
        media_bytes: size of its media file; 0 where that is unknown.
    """

    text: bytes
    is_duplicate: bool
    media_bytes: int


def write_parts(path: str, summary: manifest.ManifestSummary, folder: str, workers: int) -> None:
    """Copies the lines of a manifest into part files, in groups, those of large media first.

    Args:
        path: the manifest.
        summary: what the scan of it found.
        folder: takes the parts.
        workers: processes that the groups are meant for.

    Raises:
        UserError: the manifest is no longer the one that was scanned.
    """
    order = np.argsort(-summary.media_bytes, kind="stable")
    size = len(order) // (workers * _GROUPS_PER_WORKER)
    size = min(max(size, 1), _MAX_LINES_PER_GROUP)
    part = bytearray()
    num_parts = 0
    for place, text in enumerate(_lines_in_order(path, summary, order)):
        line = order[place]
        numbers = (place // size, int(summary.duplicates[line]), summary.media_bytes[line])
        part += b"%d %d %d " % numbers + text.rstrip(b"\r\n") + b"\n"
        if len(part) >= _PART_BYTES or place + 1 == len(order):
            files.write_bytes(files.join(folder, f"{num_parts:06d}.lines"), bytes(part))
            part.clear()
            num_parts += 1


def _lines_in_order(
    path: str, summary: manifest.ManifestSummary, order: np.ndarray
) -> Iterator[bytes]:
    with files.local_copy(path) as local, open(local, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != summary.sha256:
            raise UserError(f"manifest {path} changed while the job ran; run it again")
        for line in order:
            file.seek(summary.offsets[line])
            yield file.read(summary.sizes_bytes[line])


class ReadLineGroups(beam.PTransform):
    """Folder with part files → groups of `LineText`, spread over the workers."""

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, begin):
        return (
            begin
            | "Folder" >> beam.Create([self._folder])
            | "Parts" >> beam.FlatMap(_list_parts)
            | "SpreadParts" >> beam.Reshuffle()
            | "ReadParts" >> beam.FlatMap(_read_part)
            # Grouping by number keeps the order on one machine: large media are evenly spread.
            | "Groups" >> beam.GroupByKey()
            | "Lines" >> beam.MapTuple(lambda _, lines: [LineText(*line) for line in lines])
        )


def _list_parts(folder: str) -> list[str]:
    return [path for path, _ in files.list_files(folder)]


def _read_part(path: str) -> Iterable[tuple[int, tuple[bytes, bool, int]]]:
    for line in files.read_bytes(path).split(b"\n")[:-1]:
        group, is_duplicate, media_bytes, text = line.split(b" ", 3)
        yield int(group), (text, is_duplicate == b"1", int(media_bytes))
