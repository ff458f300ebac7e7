"""Where the records of a TFRecord shard start, from its index or by walking the shard."""

import dataclasses
import functools
import struct

import google_crc32c
import numpy as np
import tensorflow as tf

from beam_pipelines.record.contract import INDEX_SUFFIX
from beam_pipelines.record.survey import compression, unpacking
from mm_models.errors import UserError
from trainers.data.reading.files import FileSet

HEADER_BYTES = 12
FOOTER_BYTES = 4
_MAX_SCANS = 8192


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file.

    Attributes:
        path: file name; may be a remote URL.
        offsets: int64[records + 1] byte offset of every record, then the end of the file.
    """

    path: str
    offsets: np.ndarray

    @property
    def num_records(self) -> int:
        """Records in the file."""
        return len(self.offsets) - 1


def open_shard(path: str) -> Shard:
    """Reads a shard's `.index` beside it, or walks the shard's record lengths.

    Raises:
        UserError: the shard is missing, was cut short, or does not fit its index.
    """
    try:
        stat = tf.io.gfile.stat(path)
    except tf.errors.NotFoundError as error:
        raise UserError(f"shard {path} does not exist; run `mmstack preprocess` again") from error
    size_bytes = stat.length
    if not tf.io.gfile.exists(path + INDEX_SUFFIX):
        return Shard(path, _scan_once(path, size_bytes, stat.mtime_nsec))
    with tf.io.gfile.GFile(path + INDEX_SUFFIX, "rb") as file:
        content = file.read()
    if len(content) < 8 or len(content) % 8:
        raise UserError(f"index {path}{INDEX_SUFFIX} is damaged; delete it to scan the shard")
    offsets = np.frombuffer(content, "<u8").astype(np.int64)
    if offsets[-1] != size_bytes or offsets[0] != 0 or (np.diff(offsets) <= 0).any():
        raise UserError(
            f"shard {path} has {size_bytes} bytes and its index ends at {offsets[-1]}: "
            "one of them is damaged or of another run; run `mmstack preprocess` again"
        )
    return Shard(path, offsets)


@functools.lru_cache(maxsize=_MAX_SCANS)
def _scan_once(path: str, size_bytes: int, mtime_ns: int) -> np.ndarray:
    """A shard is opened several times before training, and walking a large one takes long."""
    offsets = scan(path, size_bytes)
    offsets.flags.writeable = False
    return offsets


def scan(path: str, size_bytes: int) -> np.ndarray:
    """Walks a shard from record length to record length: int64[records + 1] offsets.

    Raises:
        UserError: a length fails its checksum or points beyond the file.
    """
    files = FileSet([path])
    offsets, offset = [0], 0
    while offset < size_bytes:
        header = files.read(0, offset, HEADER_BYTES)
        length = record_length(header)
        end = offset + HEADER_BYTES + (length or 0) + FOOTER_BYTES
        if packed := compression(header) if not offset and length is None else "":
            raise UserError(unpacking(path, packed))
        if length is None or end > size_bytes:
            raise UserError(
                f"shard {path} is cut short or damaged at offset {offset}: no whole record "
                "starts there; write the shard again"
            )
        offsets.append(end)
        offset = end
    files.close()
    return np.asarray(offsets, np.int64)


def record_length(header: bytes) -> int | None:
    """The length a record header of 12 bytes announces, or None where its checksum is wrong."""
    if len(header) < HEADER_BYTES:
        return None
    length, checksum = struct.unpack("<QI", header[:HEADER_BYTES])
    return length if masked_crc32c(header[:8]) == checksum else None


def masked_crc32c(content: bytes) -> int:
    """The checksum of the TFRecord format: CRC32C, rotated and offset."""
    crc = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
