"""An object store in memory under `memory://`, as a Beam file system.

Like the real ones it has no folders, nothing is visible before its writer is closed, and it hands
out blocks: what was asked of it is more than what was read. `FAULTS` holds errors that its next
answers about a path raise.
"""

import collections
import io
import time

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

OBJECTS: dict[str, bytes] = {}
MODIFIED: dict[str, float] = {}
FAULTS: dict[str, list[Exception]] = {}
ASKED_BYTES: collections.Counter = collections.Counter()
RENAMES: list[int] = []
BLOCK_BYTES = 1 << 16


def clear() -> None:
    """An empty store, of which nothing was asked."""
    for each in (OBJECTS, MODIFIED, FAULTS, ASKED_BYTES, RENAMES):
        each.clear()


def _maybe_fail(path: str) -> None:
    if FAULTS.get(path):
        raise FAULTS[path].pop(0)


class _Blocks(io.RawIOBase):
    """What the network sees of one open file."""

    def __init__(self, path: str):
        super().__init__()
        self._path, self._content = path, io.BytesIO(OBJECTS[path])

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        return self._content.seek(offset, whence)

    def readinto(self, buffer):
        _maybe_fail(self._path)
        size = self._content.readinto(buffer)
        ASKED_BYTES[self._path] += size
        return size


class _Writer(io.BytesIO):
    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def close(self):
        if not self.closed:
            OBJECTS[self._path] = self.getvalue()
            MODIFIED[self._path] = time.time()
        super().close()


class MemoryFileSystem(FileSystem):
    @classmethod
    def scheme(cls):
        return "memory"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, content in sorted(OBJECTS.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(content), MODIFIED.get(path, 0.0))

    def create(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        return _Writer(path)

    def open(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        _maybe_fail(path)
        if path not in OBJECTS:
            raise BeamIOError(f"no object {path}")
        return io.BufferedReader(_Blocks(path), BLOCK_BYTES)

    def copy(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            OBJECTS[destination] = OBJECTS[source]
            MODIFIED[destination] = time.time()

    def rename(self, source_file_names, destination_file_names):
        RENAMES.append(len(source_file_names))
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path):
        _maybe_fail(path)
        return path in OBJECTS

    def size(self, path):
        return len(OBJECTS[path])

    def last_updated(self, path):
        return MODIFIED.get(path, 0.0)

    def checksum(self, path):
        return str(hash(OBJECTS[path]))

    def metadata(self, path):
        return FileMetadata(path, len(OBJECTS[path]), MODIFIED.get(path, 0.0))

    def delete(self, paths):
        for path in paths:
            OBJECTS.pop(path, None)
