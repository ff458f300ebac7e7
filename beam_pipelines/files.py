"""Files by path or URL, through Beam's FileSystems.

Whatever goes wrong is an OSError; `is_absence` tells whether it says that no such file is there.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import posixpath
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

# A name that cannot be one of a file (too long, a circle of links) is the name of no file.
_NO_SUCH_NAME = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
_SCHEME = re.compile(r"^[a-zA-Z][-a-zA-Z0-9+.]*://")
_COPY_BYTES = 1 << 20
_PATHS_PER_CALL = 1000
_DEVICES = ("/dev/", "/proc/")


def is_remote(path: str) -> bool:
    """Whether `path` is a URL, such as gs://bucket/folder."""
    return bool(_SCHEME.match(path))


def check_scheme(path: str) -> None:
    """Raises ValueError for a URL of a kind that no installed package reads."""
    if is_remote(path):
        FileSystems.get_filesystem(path)


def join(folder: str, name: str) -> str:
    """`name` inside `folder`; an absolute path or URL stays as it is."""
    if is_remote(name) or os.path.isabs(name):
        return name
    return posixpath.join(folder, name) if is_remote(folder) else os.path.join(folder, name)


def parent(path: str) -> str:
    """Folder that holds `path`."""
    if is_remote(path):
        return path.rstrip("/").rsplit("/", 1)[0]
    return os.path.dirname(os.path.abspath(path))


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    """Raises what a remote store's library raises, each its own kind, as OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def is_absence(error: OSError) -> bool:
    """Whether an error says that no such file is there; any other says nothing about the file."""
    return error.errno in _NO_SUCH_NAME


def require_readable(path: str) -> int:
    """Size in bytes of a local file that may be read; 0 for a remote one that is there.

    Nothing is opened, so that a pipe does not block.

    Raises:
        OSError: `is_absence` tells whether the file is not there, or cannot be reached now.
    """
    if is_remote(path):
        with _store_errors():
            if not FileSystems.exists(path):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return 0
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return status.st_size


def open_read(path: str) -> BinaryIO:
    """Opens for reading bytes, never decompressing. Raises OSError, also for what is no file."""
    if not is_remote(path):
        return _open_local(path)
    try:
        with _store_errors():
            return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except OSError:
        require_readable(path)  # Stores word absence in their own ways; this asks for it.
        raise


def _open_local(path: str) -> BinaryIO:
    """Opens a regular file, or a pipe or device that is named as such, such as /dev/stdin.

    What merely lies in a folder may be a pipe that nobody writes to or a link to /dev/zero.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path.startswith(_DEVICES)):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return open(path, "rb")


def open_write(path: str) -> BinaryIO:
    """Opens for writing bytes, never compressing. Raises OSError when that is not possible."""
    if not is_remote(path):
        return open(path, "wb")
    with _store_errors():
        return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read_bytes(path: str) -> bytes:
    """Whole content of a file."""
    with _store_errors(), open_read(path) as file:
        return file.read()


def write_bytes(path: str, content: bytes) -> None:
    """Writes a whole file."""
    with _store_errors(), open_write(path) as file:
        file.write(content)


def write_json(path: str, value: Any) -> None:
    """Writes a JSON file that a person can read."""
    write_bytes(path, json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n")


def exists(path: str) -> bool:
    """Whether a file or folder is there (remote: any file under the prefix).

    Raises:
        OSError: the store does not say.
    """
    if not is_remote(path):
        return os.path.exists(path)
    with _store_errors():
        return FileSystems.exists(path) or bool(list_files(path))


def is_folder(path: str) -> bool:
    """Whether a folder is there (remote: files under the prefix, and none of the name itself)."""
    if not is_remote(path):
        return os.path.isdir(path)
    with _store_errors():
        return exists(path) and not FileSystems.exists(path)


def matching(pattern: str) -> list[str]:
    """Paths of the files whose names match a pattern with `*`, `?` and `[]`, sorted."""
    if not is_remote(pattern):
        return sorted(path for path in glob.glob(pattern) if os.path.isfile(path))
    return [path for path, _ in _matching(pattern)]


def make_folder(path: str) -> None:
    """Makes a folder and its parents; remote stores need none."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)


def list_files(folder: str) -> list[tuple[str, int]]:
    """(path, size in bytes) of every file under `folder`, at any depth, sorted by path."""
    if not is_remote(folder):
        paths = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
        return sorted((path, _size_bytes(path)) for path in paths)
    return _matching(folder.rstrip("/") + "/**")


def _size_bytes(path: str) -> int:
    """Size of a local file; 0 of a link that leads nowhere, which whoever opens it will see."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _matching(pattern: str) -> list[tuple[str, int]]:
    with _store_errors():
        matched = FileSystems.match([pattern])[0]
    return sorted((found.path, found.size_in_bytes) for found in matched.metadata_list)


def folders_with(prefix: str, name: str) -> list[str]:
    """Names of the folders whose path starts with `prefix` and that hold a file `name`, sorted."""
    folder, start = parent(prefix), prefix.rsplit("/", 1)[-1]
    if is_remote(prefix):
        found = [path[len(folder) + 1 :] for path, _ in _matching(f"{prefix}*/{name}")]
        return [path.removesuffix(f"/{name}") for path in found if path.count("/") == 1]
    if not os.path.isdir(folder):
        return []
    names = sorted(each for each in os.listdir(folder) if each.startswith(start))
    return [each for each in names if os.path.isfile(os.path.join(folder, each, name))]


def modified_seconds(path: str) -> float:
    """When a file was written last, by the clock of the disk or store that holds it."""
    if not is_remote(path):
        return os.stat(path).st_mtime
    with _store_errors():
        return FileSystems.last_updated(path)


def delete_file(path: str) -> None:
    """Removes one file."""
    if not is_remote(path):
        os.remove(path)
        return
    with _store_errors():
        FileSystems.delete([path])


def delete_tree(folder: str) -> None:
    """Removes a folder and what is under it; absent ones are fine."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    paths = [path for path, _ in list_files(folder)]
    with _store_errors():
        for some in _batches(paths):
            FileSystems.delete(some)


def rename_file(source: str, destination: str) -> None:
    """Gives a file its final name, replacing what is there."""
    if not is_remote(source):
        os.replace(source, destination)
        return
    with _store_errors():
        FileSystems.rename([source], [destination])


def rename_tree(source: str, destination: str, last: str | None = None) -> None:
    """Gives a folder its final name.

    A local folder appears at once, and only where none with files in it is. Remote stores rename
    lists of files, so `last`, the file whose presence means "complete", is renamed after all
    others.
    """
    if not is_remote(source):
        os.rename(source, destination)
        return
    paths = [path for path, _ in list_files(source)]
    ending = [path for path in paths if path == f"{source}/{last}"]
    with _store_errors():
        for some in [*_batches([path for path in paths if path not in ending]), ending]:
            if some:
                FileSystems.rename(some, [destination + path[len(source) :] for path in some])


def _batches(paths: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(paths), _PATHS_PER_CALL):
        yield paths[first : first + _PATHS_PER_CALL]


def sha256(path: str) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with _store_errors(), open_read(path) as file:
        while chunk := file.read(_COPY_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A local path with the content of `path`: itself, or a temporary download of a URL."""
    if not is_remote(path):
        yield path
        return
    suffix = os.path.splitext(path)[1]
    with tempfile.NamedTemporaryFile(prefix="mmstack-media-", suffix=suffix) as local:
        with _store_errors(), open_read(path) as remote:
            shutil.copyfileobj(remote, local, _COPY_BYTES)
        local.flush()
        yield local.name
