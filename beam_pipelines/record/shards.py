"""TFRecord shards: framing, staging, merging, and the index of record offsets beside each shard.

Records reach their shards in two steps, so that no process holds more than one record's bytes: the
worker that makes a record appends it, framed, to a staging file and passes on a `StagedRecord` of a
few dozen bytes; once those are grouped by shard, its records are read in the order of the staging
files, because remote stores hand out megabytes at a time, and written in the order of their keys.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import struct
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import google_crc32c

from beam_pipelines import files
from beam_pipelines.items.manifest import stable_hash
from beam_pipelines.record.contract import INDEX_SUFFIX

_HEADER_BYTES = 12
_FOOTER_BYTES = 4
_MASK_DELTA = 0xA282EAD8
_SPOOL_BYTES = 64 << 20
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


class DamagedRecordError(ValueError):
    """A record whose length or checksum does not fit its bytes."""


def masked_crc(data: bytes) -> bytes:
    """CRC32C of `data`, rotated and offset as the TFRecord format asks, little-endian."""
    crc = google_crc32c.value(data)
    return _CRC.pack((((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)


def frame(record: bytes) -> bytes:
    """A record as it stands in a TFRecord file: length, its checksum, the bytes, their checksum."""
    length = _LENGTH.pack(len(record))
    return b"".join((length, masked_crc(length), record, masked_crc(record)))


def unframe(framed: bytes) -> bytes:
    """The record inside a frame. Raises DamagedRecordError."""
    record = framed[_HEADER_BYTES:-_FOOTER_BYTES]
    if frame(record) != framed:
        raise DamagedRecordError("length or checksum of a record does not fit its bytes")
    return record


def read_records(path: str) -> Iterator[tuple[int, bytes]]:
    """(offset, record) of a TFRecord file, in order. Raises DamagedRecordError with the place."""
    with files.open_read(path) as file:
        offset = 0
        while header := file.read(_HEADER_BYTES):
            place = f"{path} at byte {offset}"
            if len(header) < _HEADER_BYTES or masked_crc(header[:8]) != header[8:]:
                raise DamagedRecordError(f"{place}: damaged record length")
            (length,) = _LENGTH.unpack(header[:8])
            body = file.read(length + _FOOTER_BYTES)
            record = body[:length]
            if len(body) < length + _FOOTER_BYTES or masked_crc(record) != body[length:]:
                raise DamagedRecordError(f"{place}: damaged or cut record")
            yield offset, record
            offset += _HEADER_BYTES + len(body)


def shard_of(key: str, num_shards: int) -> int:
    """Shard of a record, a stable hash of its key."""
    return stable_hash(key, "shard") % num_shards


class StagedRecord(NamedTuple):
    """Where a framed record waits for its shard; `file` is a name in the staging folder."""

    key: str
    file: str
    offset: int
    size_bytes: int


class StagingFile:
    """Appends framed records to a uniquely named file in `folder`, made at the first record."""

    def __init__(self, folder: str):
        self._name = f"{uuid.uuid4().hex}.staged"
        self._path = files.join(folder, self._name)
        self._file: BinaryIO | None = None
        self._offset = 0

    def append(self, key: str, record: bytes) -> StagedRecord:
        """Writes one record and says where."""
        if self._file is None:
            self._file = files.open_write(self._path)
        framed = frame(record)
        self._file.write(framed)
        staged = StagedRecord(key, self._name, self._offset, len(framed))
        self._offset += len(framed)
        return staged

    def close(self) -> None:
        """Makes what was appended readable."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Removes the file: one left open would appear when it is collected, after its job."""
        if self._file is not None:
            self.close()
            files.delete_file(self._path)


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """What `dataset_info.json` says about a shard."""

    file: str
    num_records: int
    size_bytes: int
    sha256: str


def write_shard(
    folder: str, name: str, staged: Iterable[StagedRecord], staging_folder: str
) -> ShardInfo:
    """Writes `folder/name` and its index from staged records, in key order.

    What is unfinished lies in the staging folder, so that an attempt that fails, or whose process
    dies, leaves nothing in `folder`. The index holds little-endian uint64 byte offsets of every
    record and the end of the file.

    Raises:
        DamagedRecordError: when a staged record does not read back whole.
        ValueError: when two records have the same key.
    """
    ordered = sorted(staged, key=lambda record: record.key)
    for first, second in itertools.pairwise(ordered):
        if first.key == second.key:
            raise ValueError(f"two records have the key {first.key}")
    digest, offsets = hashlib.sha256(), [0]
    spool_folder = None if files.is_remote(staging_folder) else staging_folder
    with (
        tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=spool_folder) as spool,
        _appearing_file(files.join(folder, name), staging_folder) as shard,
    ):
        places = _gather(ordered, staging_folder, spool)
        for record in ordered:
            spool.seek(places[record.key])
            framed = spool.read(record.size_bytes)
            shard.write(framed)
            digest.update(framed)
            offsets.append(offsets[-1] + len(framed))
    index = struct.pack(f"<{len(offsets)}Q", *offsets)
    with _appearing_file(files.join(folder, name + INDEX_SUFFIX), staging_folder) as file:
        file.write(index)
    return ShardInfo(name, len(ordered), offsets[-1], digest.hexdigest())


@contextlib.contextmanager
def _appearing_file(path: str, unfinished_folder: str) -> Iterator[BinaryIO]:
    """A file under another name until it is whole."""
    unfinished = files.join(unfinished_folder, f".tmp-{uuid.uuid4().hex}")
    try:
        with files.open_write(unfinished) as file:
            yield file
    except BaseException:
        with contextlib.suppress(OSError):  # What failed is told; this only makes room.
            files.delete_file(unfinished)
        raise
    files.rename_file(unfinished, path)


def _gather(records: list[StagedRecord], staging_folder: str, spool: BinaryIO) -> dict[str, int]:
    """Copies staged records into a spool in the order they stand in; returns key → place there."""
    places = {}
    by_file = sorted(records, key=lambda record: (record.file, record.offset))
    for name, members in itertools.groupby(by_file, key=lambda record: record.file):
        with files.open_read(files.join(staging_folder, name)) as file:
            for record in members:
                file.seek(record.offset)
                framed = file.read(record.size_bytes)
                if (
                    len(framed) != record.size_bytes
                    or masked_crc(framed[:8]) != framed[8:_HEADER_BYTES]
                ):
                    raise DamagedRecordError(f"staged record {record.key} does not read back whole")
                places[record.key] = spool.tell()
                spool.write(framed)
    return places


def read_index(path: str) -> list[int]:
    """Offsets of a shard's records and the end, from the index file beside the shard `path`.

    Raises:
        DamagedRecordError: they are no offsets that grow from 0.
    """
    content = files.read_bytes(path + INDEX_SUFFIX)
    offsets = [offset for (offset,) in struct.iter_unpack("<Q", content[: len(content) // 8 * 8])]
    grows = all(start < end for start, end in itertools.pairwise(offsets))
    if len(content) % 8 or not offsets or offsets[0] or not grows:
        raise DamagedRecordError(f"{path}{INDEX_SUFFIX}: damaged index")
    return offsets


def read_at(path: str, start: int, end: int) -> bytes:
    """One record by its offsets. Raises DamagedRecordError with the place."""
    with files.open_read(path) as file:
        file.seek(start)
        header = file.read(_HEADER_BYTES)
        length = end - start - _HEADER_BYTES - _FOOTER_BYTES
        # Checked before what a damaged index or length asks for is read.
        if header[:8] != _LENGTH.pack(max(length, 0)) or masked_crc(header[:8]) != header[8:]:
            raise DamagedRecordError(f"{path} at byte {start}: damaged record length, or index")
        framed = header + file.read(end - start - _HEADER_BYTES)
    try:
        return unframe(framed)
    except DamagedRecordError as error:
        raise DamagedRecordError(f"{path} at byte {start}: {error}") from error
