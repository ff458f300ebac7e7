"""TFRecord shards: framing, staging, merging, and the index of record offsets beside each shard.

Records reach their shards in two steps, so that no process holds more than one record's bytes: the
worker that makes a record appends it, framed, to a staging file and passes on a `StagedRecord` of a
few dozen bytes; once those are grouped by shard, the shard is written by copying its records in key
order.
"""

import dataclasses
import hashlib
import struct
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
_MAX_OPEN_STAGING_FILES = 32
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

    The index holds little-endian uint64 byte offsets of every record and the end of the file.

    Raises:
        DamagedRecordError: when a staged record does not read back whole.
        ValueError: when two records have the same key.
    """
    ordered = sorted(staged, key=lambda record: record.key)
    for first, second in zip(ordered, ordered[1:], strict=False):
        if first.key == second.key:
            raise ValueError(f"two records have the key {first.key}")
    digest, offsets = hashlib.sha256(), [0]
    unfinished = files.join(folder, f".tmp-{uuid.uuid4().hex}")
    with files.open_write(unfinished) as shard, _StagingReader(staging_folder) as reader:
        for record in ordered:
            framed = reader.read(record)
            shard.write(framed)
            digest.update(framed)
            offsets.append(offsets[-1] + len(framed))
    path = files.join(folder, name)
    files.write_bytes(path + INDEX_SUFFIX, struct.pack(f"<{len(offsets)}Q", *offsets))
    files.rename_file(unfinished, path)
    return ShardInfo(name, len(ordered), offsets[-1], digest.hexdigest())


class _StagingReader:
    """Reads staged records at random, with a bounded number of open files."""

    def __init__(self, folder: str):
        self._folder = folder
        self._open: dict[str, BinaryIO] = {}

    def __enter__(self) -> "_StagingReader":
        return self

    def __exit__(self, *_) -> None:
        for file in self._open.values():
            file.close()

    def read(self, record: StagedRecord) -> bytes:
        file = self._open.get(record.file)
        if file is None:
            if len(self._open) >= _MAX_OPEN_STAGING_FILES:
                self._open.pop(next(iter(self._open))).close()
            file = self._open[record.file] = files.open_read(files.join(self._folder, record.file))
        file.seek(record.offset)
        framed = file.read(record.size_bytes)
        if len(framed) != record.size_bytes or masked_crc(framed[:8]) != framed[8:_HEADER_BYTES]:
            raise DamagedRecordError(f"staged record {record.key} does not read back whole")
        return framed


def read_index(path: str) -> list[int]:
    """Offsets of a shard's records and the end, from the index file beside the shard `path`."""
    content = files.read_bytes(path + INDEX_SUFFIX)
    return list(struct.unpack(f"<{len(content) // 8}Q", content))


def read_at(path: str, start: int, end: int) -> bytes:
    """One record by its offsets. Raises DamagedRecordError."""
    with files.open_read(path) as file:
        file.seek(start)
        return unframe(file.read(end - start))
