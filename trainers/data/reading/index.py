"""Random access to the records of one data set, checked by CRC32C."""

import bisect
import concurrent.futures
import dataclasses
import json
import posixpath
import re
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.errors import UserError
from trainers.data.config import DatasetConfig
from trainers.data.order.randomness import hash64
from trainers.data.reading.files import FileSet, is_remote
from trainers.data.reading.shards import (
    FOOTER_BYTES,
    HEADER_BYTES,
    Shard,
    masked_crc32c,
    open_shard,
    record_length,
)

_REMOTE_READS = 16
# Keeps the choice of records apart from other draws from the same seed.
_SHARE_PURPOSE = -3
_KEY_MARK = contract.CLIP_KEY.encode() + b"\x12"


@dataclasses.dataclass
class CorruptRecord(Exception):
    """A record that cannot be used.

    Attributes:
        shard: file name of the shard.
        offset: byte offset of the record in the shard.
        key: the record's `clip/key`, or `unknown` where it cannot be read.
        reason: what is wrong with it.
    """

    shard: str
    offset: int
    key: str
    reason: str

    def __str__(self) -> str:
        """One clause that names the record."""
        return f"record {self.key!r} at offset {self.offset} of {self.shard}: {self.reason}"


class RecordIndex:
    """The records of one split, by number, in the order of the shards.

    Attributes:
        num_records: records in the split, or in the chosen share of it.
        shards: the shards in order.
        info: content of `dataset_info.json`; None for foreign shards.
    """

    def __init__(
        self,
        shards: list[Shard],
        info: dict[str, Any] | None,
        share: float = 1.0,
        share_seed: int = 0,
    ):
        """Takes opened shards; see `open`."""
        self.shards = shards
        self.info = info
        self._starts = np.cumsum([0] + [shard.num_records for shard in shards]).tolist()
        self.num_records = self._starts[-1]
        self._chosen = None
        if share < 1:
            self._chosen = choose_records(self.num_records, share, share_seed)
            self.num_records = len(self._chosen)
        self._files = FileSet([shard.path for shard in shards])
        self._remote = any(is_remote(shard.path) for shard in shards)

    @classmethod
    def open(cls, dataset: DatasetConfig) -> "RecordIndex":
        """Opens a record folder or a glob of TFRecord shards, or the chosen share of its records.

        Raises:
            UserError: nothing is there, the split is unknown or empty, or a shard is damaged.
        """
        info = None
        if _is_pattern(dataset.path) or _is_file(dataset.path):
            paths = _matching_shards(dataset.path)
        else:
            info = read_dataset_info(dataset.path)
            paths = _split_shards(dataset, info)
        shards = [open_shard(path) for path in paths]
        index = cls(shards, info, dataset.share, dataset.share_seed)
        if not index.num_records:
            raise UserError(
                f"split {dataset.split!r} of {dataset.path} holds no records; choose another split "
                "or preprocess more media"
            )
        return index

    @property
    def contents(self) -> list[tuple[str, int, int]]:
        """File name, records and end of each shard: folders may move."""
        return [
            (shard.path.rsplit("/", 1)[-1], shard.num_records, int(shard.offsets[-1]))
            for shard in self.shards
        ]

    def stored_numbers(self, record_numbers: np.ndarray) -> np.ndarray:
        """int64[records] numbers among all of the split, also where a share of it was chosen."""
        return record_numbers if self._chosen is None else self._chosen[record_numbers]

    def locate(self, record_number: int) -> tuple[int, int, int]:
        """Shard number, byte offset and size in bytes (with framing) of a record."""
        if self._chosen is not None:
            record_number = int(self._chosen[record_number])
        shard = bisect.bisect_right(self._starts, record_number) - 1
        offsets = self.shards[shard].offsets
        place = record_number - self._starts[shard]
        return shard, int(offsets[place]), int(offsets[place + 1] - offsets[place])

    def read(self, record_numbers: Sequence[int]) -> list[bytes]:
        """Reads serialized records.

        Raises:
            CorruptRecord: a record fails its checksum or is not whole.
        """
        if not self._remote:
            return [self.read_one(int(number)) for number in record_numbers]
        with concurrent.futures.ThreadPoolExecutor(_REMOTE_READS) as pool:
            return list(pool.map(self.read_one, map(int, record_numbers)))

    def read_one(self, record_number: int) -> bytes:
        """Reads one serialized record. Raises CorruptRecord as `read` does."""
        shard, offset, size = self.locate(record_number)
        framed = self._files.read(shard, offset, size)
        content = framed[HEADER_BYTES : size - FOOTER_BYTES]
        reason = _framing_fault(framed, size, content)
        if reason:
            raise self.corrupt(record_number, content, reason)
        return content

    def sample(self, count: int) -> list[bytes]:
        """At most `count` records spread over all; damaged ones are left to the reader."""
        numbers = np.unique(np.linspace(0, self.num_records - 1, count).astype(int))
        found = []
        for number in numbers.tolist():
            try:
                found.append(self.read_one(number))
            except CorruptRecord:
                continue
        return found

    def corrupt(self, record_number: int, content: bytes, reason: str) -> CorruptRecord:
        """Names a record in an error."""
        shard, offset, _ = self.locate(record_number)
        return CorruptRecord(self.shards[shard].path, offset, find_key(content), reason)


def choose_records(num_records: int, share: float, seed: int) -> np.ndarray:
    """int64[chosen] record numbers in stored order: those with the smallest hashes.

    At least one, where there are any; equal seeds give nested choices.
    """
    count = min(num_records, max(1, round(share * num_records)))
    hashes = hash64(_SHARE_PURPOSE, seed, np.arange(num_records))
    return np.sort(np.argsort(hashes, kind="stable")[:count])


def _framing_fault(framed: bytes, size: int, content: bytes) -> str | None:
    if len(framed) < size:
        return f"the shard ends after {len(framed)} of the record's {size} bytes"
    if record_length(framed) != len(content):
        return "its length fails the checksum"
    if masked_crc32c(content) != struct.unpack("<I", framed[-FOOTER_BYTES:])[0]:
        return "its content fails the checksum"
    return None


def find_key(content: bytes) -> str:
    """The `clip/key` of a serialized record, also out of a damaged one; else `unknown`."""
    place = content.find(_KEY_MARK)
    if place < 0:
        return "unknown"
    place += len(_KEY_MARK)
    # Feature > BytesList > value: three nested lengths, the last one the key's own.
    for follows in (b"\n", b"\n", b""):
        size, place = _varint(content, place)
        if not content.startswith(follows, place):
            return "unknown"
        place += len(follows)
    return content[place : place + size].decode("utf-8", errors="replace") or "unknown"


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while place < len(content):
        byte = content[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 0x80:
            break
    return value, place


def read_dataset_info(folder: str) -> dict[str, Any]:
    """Reads `dataset_info.json` of a record folder.

    Raises:
        UserError: it is missing or is no JSON object with splits.
    """
    path = posixpath.join(folder, contract.DATASET_INFO)
    try:
        with tf.io.gfile.GFile(path) as file:
            info = json.loads(file.read())
    except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
        raise UserError(
            f"{folder!r} is no record folder, it has no {contract.DATASET_INFO}; "
            "write one with `mmstack preprocess`, or give a glob of TFRecord files"
        ) from error
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(f"{path} cannot be read: {error}; preprocess again") from error
    if not isinstance(info, dict) or not isinstance(info.get("splits"), dict):
        raise UserError(f"{path} names no splits; preprocess again")
    return info


def _split_shards(dataset: DatasetConfig, info: dict[str, Any]) -> list[str]:
    if dataset.split not in info["splits"]:
        raise UserError(
            f"split {dataset.split!r} is not in {dataset.path}; it has {sorted(info['splits'])}"
        )
    shards = info["splits"][dataset.split]["shards"]
    return [posixpath.join(dataset.path, shard["file"]) for shard in shards]


def _is_pattern(path: str) -> bool:
    return bool(re.search(r"[*?\[]|@\d+$|\.tfrecords?$", path))


def _is_file(path: str) -> bool:
    return tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)


def _matching_shards(pattern: str) -> list[str]:
    pattern = re.sub(r"@\d+$", "*-of-*", pattern)
    paths = sorted(
        path for path in tf.io.gfile.glob(pattern) if not path.endswith(contract.INDEX_SUFFIX)
    )
    if not paths:
        raise UserError(f"no file matches {pattern!r}; give a record folder or a glob of TFRecords")
    return paths
