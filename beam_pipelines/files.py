"""Files by path or URL, through Beam's FileSystems."""

import contextlib
import errno
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

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

_SCHEME = re.compile(r"^[a-zA-Z][-a-zA-Z0-9+.]*://")
_COPY_BYTES = 1 << 20
_DEVICES = ("/dev/", "/proc/")


def is_remote(path: str) -> bool:
    """Whether `path` is a URL, such as gs://bucket/folder."""
    return bool(_SCHEME.match(path))


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


def open_read(path: str) -> BinaryIO:
    """Opens for reading bytes, never decompressing. Raises OSError when absent, or no file."""
    if not is_remote(path):
        return _open_local(path)
    try:
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except (BeamIOError, ValueError) as error:
        raise OSError(str(error)) from error


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
    try:
        return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except (BeamIOError, ValueError) as error:
        raise OSError(str(error)) from error


def read_bytes(path: str) -> bytes:
    """Whole content of a file."""
    with open_read(path) as file:
        return file.read()


def write_bytes(path: str, content: bytes) -> None:
    """Writes a whole file."""
    with open_write(path) as file:
        file.write(content)


def write_json(path: str, value: Any) -> None:
    """Writes a JSON file that a person can read."""
    write_bytes(path, json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n")


def exists(path: str) -> bool:
    """Whether a file or folder is there (remote: any file under the prefix)."""
    if not is_remote(path):
        return os.path.exists(path)
    try:
        return FileSystems.exists(path) or bool(list_files(path))
    except (BeamIOError, ValueError):
        return False


def make_folder(path: str) -> None:
    """Makes a folder and its parents; remote stores need none."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)


def list_files(folder: str) -> list[tuple[str, int]]:
    """(path, size in bytes) of every file under `folder`, at any depth, sorted by path."""
    if not is_remote(folder):
        paths = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
        return sorted((path, _size_bytes(path)) for path in paths)
    matched = FileSystems.match([folder.rstrip("/") + "/**"])[0]
    return sorted((found.path, found.size_in_bytes) for found in matched.metadata_list)


def _size_bytes(path: str) -> int:
    """Size of a local file; 0 of a link that leads nowhere, which whoever opens it will see."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def folders_with_prefix(prefix: str) -> list[str]:
    """Paths of the folders whose path starts with `prefix`, sorted."""
    folder = parent(prefix)
    if not is_remote(prefix):
        if not os.path.isdir(folder):
            return []
        entries = (entry for entry in os.scandir(folder) if entry.is_dir())
        return sorted(e.path for e in entries if e.name.startswith(os.path.basename(prefix)))
    matched = FileSystems.match([prefix + "**"])[0]
    names = {found.path[len(folder) + 1 :].split("/")[0] for found in matched.metadata_list}
    return sorted(f"{folder}/{name}" for name in names)


def delete_file(path: str) -> None:
    """Removes one file."""
    if is_remote(path):
        FileSystems.delete([path])
    else:
        os.remove(path)


def delete_tree(folder: str) -> None:
    """Removes a folder and what is under it; absent ones are fine."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    paths = [path for path, _ in list_files(folder)]
    if paths:
        FileSystems.delete(paths)


def rename_file(source: str, destination: str) -> None:
    """Gives a file its final name, replacing what is there."""
    if is_remote(source):
        FileSystems.rename([source], [destination])
    else:
        os.replace(source, destination)


def rename_tree(source: str, destination: str, last: str | None = None) -> None:
    """Gives a folder its final name.

    A local folder appears at once. Remote stores rename file by file, so `last`, the file whose
    presence means "complete", is renamed after all others.
    """
    if not is_remote(source):
        os.rename(source, destination)
        return
    paths = [path for path, _ in list_files(source)]
    paths.sort(key=lambda path: (path == f"{source}/{last}", path))
    for path in paths:
        FileSystems.rename([path], [destination + path[len(source) :]])


def sha256(path: str) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with open_read(path) as file:
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
        with open_read(path) as remote:
            shutil.copyfileobj(remote, local, _COPY_BYTES)
        local.flush()
        yield local.name
