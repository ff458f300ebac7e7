"""Positioned reads from local or remote files."""

import os
import threading

import tensorflow as tf

_MAX_OPEN_FILES = 256


def is_remote(path: str) -> bool:
    """Whether `path` names a file system by scheme, such as `gs://`."""
    return "://" in path


class FileSet:
    """Files read at offsets by several threads at once.

    Local files are read with `pread`, remote ones through TensorFlow's file systems. Files stay
    open, except where there are too many of them.
    """

    def __init__(self, paths: list[str]):
        """Opens nothing yet."""
        self._paths = paths
        self._keep_open = len(paths) <= _MAX_OPEN_FILES
        self._descriptors: dict[int, int] = {}
        self._remote: dict[int, tf.io.gfile.GFile] = {}
        self._locks = [threading.Lock() for _ in paths]

    def read(self, number: int, offset: int, size_bytes: int) -> bytes:
        """Reads up to `size_bytes` from file `number`; fewer at its end."""
        if is_remote(self._paths[number]):
            return self._read_remote(number, offset, size_bytes)
        if not self._keep_open:
            with open(self._paths[number], "rb", buffering=0) as file:
                return os.pread(file.fileno(), size_bytes, offset)
        return os.pread(self._descriptor(number), size_bytes, offset)

    def _descriptor(self, number: int) -> int:
        with self._locks[number]:
            if number not in self._descriptors:
                self._descriptors[number] = os.open(self._paths[number], os.O_RDONLY)
            return self._descriptors[number]

    def _read_remote(self, number: int, offset: int, size_bytes: int) -> bytes:
        with self._locks[number]:
            file = self._remote.get(number) or tf.io.gfile.GFile(self._paths[number], "rb")
            file.seek(offset)
            content = file.read(size_bytes)
            if self._keep_open:
                self._remote[number] = file
            else:
                file.close()
        return content

    def close(self) -> None:
        """Closes what is open; a later read opens it again."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
        while self._remote:
            self._remote.popitem()[1].close()

    def __del__(self):
        """Closes files with the last reader."""
        self.close()
