"""Output folders that appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator

from beam_pipelines import files
from mm_models.errors import UserError


def check_output(path: str, *, overwrite: bool) -> None:
    """Raises UserError when `path` exists and may not be replaced, or cannot be written."""
    if files.exists(path) and not overwrite:
        raise UserError(f"--output {path} exists; name another path or add --overwrite")
    folder = files.parent(path)
    probe = files.join(folder, f".tmp-probe-{os.getpid()}")
    try:
        files.make_folder(folder)
        files.write_bytes(probe, b"")
        files.delete_file(probe)
    except (OSError, ValueError) as error:
        raise UserError(f"--output {path} cannot be written: {error}") from error


@contextlib.contextmanager
def appearing_folder(
    path: str, *, overwrite: bool = False, last: str | None = None
) -> Iterator[str]:
    """A work folder beside `path` that takes its name when the block ends without an exception.

    Folders left by runs that died are removed first. On an exception the work folder is removed.

    Args:
        path: final folder, local or remote.
        overwrite: whether to replace what is there.
        last: file that says "complete"; on remote stores it is renamed last.

    Raises:
        UserError: when `path` exists and may not be replaced, or cannot be written.
    """
    path = path.rstrip("/")
    check_output(path, overwrite=overwrite)
    _remove_leftovers(path)
    work = f"{_work_prefix(path)}{os.getpid()}"
    files.make_folder(work)
    try:
        yield work
        if files.exists(path):
            _move_aside(path)
        files.rename_tree(work, path, last)
    finally:
        files.delete_tree(work)


def _move_aside(path: str) -> None:
    """Takes the old output out of the way; a crash before the rename leaves it under `.tmp-`."""
    if files.is_remote(path):
        files.delete_tree(path)
        return
    old = f"{_work_prefix(path)}{os.getpid()}-old"
    os.rename(path, old)
    files.delete_tree(old)


def _work_prefix(path: str) -> str:
    return files.join(files.parent(path), f".tmp-{path.rsplit('/', 1)[-1]}-")


def _remove_leftovers(path: str) -> None:
    prefix = _work_prefix(path)
    for folder in files.folders_with_prefix(prefix):
        if not _is_in_use(folder[len(prefix) :], files.is_remote(path)):
            files.delete_tree(folder)


def _is_in_use(owner: str, remote: bool) -> bool:
    """Whether the process whose id is in a work folder's name still runs on this machine."""
    pid = owner.partition("-")[0]
    if remote or not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
