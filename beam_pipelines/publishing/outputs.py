"""Outputs that appear whole or not at all, and only where nothing else has appeared meanwhile."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.publishing.claim import Claim, claimed
from mm_models.errors import UserError

# What renaming a folder raises where there is something else of that name.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def check_output(path: str, *, overwrite: bool) -> None:
    """Raises UserError when `path` exists and may not be replaced, or cannot be written."""
    probe = files.join(files.parent(path), f".tmp-probe-{secrets.token_hex(16)}")
    with _write_errors(path):
        _refuse_existing(path, overwrite)
        files.make_folder(files.parent(path))
        files.write_bytes(probe, b"")
        files.delete_file(probe)


@contextlib.contextmanager
def _write_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--output {path} cannot be written: {error}") from error


def _refuse_existing(path: str, overwrite: bool) -> None:
    if files.exists(path) and not overwrite:
        raise UserError(f"--output {path} exists; name another path or add --overwrite")


@contextlib.contextmanager
def appearing_folder(path: str, last: str, *, overwrite: bool = False) -> Iterator[str]:
    """A work folder beside `path` that takes its name when the block ends without an exception.

    On an exception the work folder is removed.

    Args:
        path: final folder, local or remote.
        last: file that says "complete"; on remote stores it is renamed last.
        overwrite: whether to replace what is there.

    Raises:
        UserError: when `path` exists and may not be replaced, cannot be written, is being written
            by another job, or is not what it was when the block began.
    """
    with _claimed(path, overwrite) as claim:
        before = _state(claim.output, last)
        yield claim.work
        with _write_errors(path):
            claim.check()
            if files.is_remote(path):
                _publish_remote(claim, before, last)
            else:
                _publish_local(claim, before, last)


@contextlib.contextmanager
def appearing_files(path: str, *, overwrite: bool = False) -> Iterator[str]:
    """A work folder whose files appear in the folder of `path` when the block ends, `path` last.

    Files whose names start with `.tmp-` do not. Arguments and errors are those of
    `appearing_folder`; `path` is the file that the others belong to.
    """
    with _claimed(path, overwrite) as claim:
        before = _state(claim.output)
        yield claim.work
        with _write_errors(path):
            claim.check()
            if _state(claim.output) != before:
                raise _changed(claim)
            _publish_files(claim)


@contextlib.contextmanager
def _claimed(path: str, overwrite: bool) -> Iterator[Claim]:
    check_output(path, overwrite=overwrite)
    # The work of a link lies beside what it points to, on the same disk.
    real = path.rstrip("/") if files.is_remote(path) else os.path.realpath(path)
    with contextlib.ExitStack() as stack:
        with _write_errors(path):
            claim = stack.enter_context(claimed(real))
            _refuse_existing(claim.output, overwrite)
        yield claim


def _state(path: str, last: str = "") -> Any:
    """What tells an output from any other that takes its place; None where there is none."""
    if not files.exists(path):
        return None
    if files.is_remote(path):
        # Times of remote stores differ in meaning; what describes the data differs with them.
        marker = files.join(path, last) if last else path
        return files.list_files(path), files.read_bytes(marker) if files.exists(marker) else b""
    statuses = [os.stat(path), *(os.stat(found) for found, _ in files.list_files(path))]
    return [(status.st_ino, status.st_size, status.st_mtime_ns) for status in statuses]


def _changed(claim: Claim) -> UserError:
    return UserError(
        f"--output {claim.output} was made or changed by something else while this job ran, so it "
        "was left as it is and nothing was written; name another output and run again"
    )


def _publish_files(claim: Claim) -> None:
    names = [path[len(claim.work) + 1 :] for path, _ in files.list_files(claim.work)]
    output_name = claim.output.rsplit("/", 1)[-1]
    for name in sorted(names, key=lambda name: (name == output_name, name)):
        if not name.startswith(".tmp-"):
            source = files.join(claim.work, name)
            files.rename_file(source, files.join(files.parent(claim.output), name))


def _publish_local(claim: Claim, before: Any, last: str) -> None:
    """Swaps the folders; a crash in between leaves the old one to the next job, which restores it.

    Only what has been moved aside is compared: nobody else changes what has an unguessable name.
    """
    if before is not None:
        _move_aside(claim, before, last)
    try:
        files.rename_tree(claim.work, claim.output)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _changed(claim) from error
        raise


def _move_aside(claim: Claim, before: Any, last: str) -> None:
    try:
        os.rename(claim.output, claim.replaced)
    except FileNotFoundError as error:
        raise _changed(claim) from error
    if _state(claim.replaced, last) != before:
        os.rename(claim.replaced, claim.output)
        raise _changed(claim)


def _publish_remote(claim: Claim, before: Any, last: str) -> None:
    if _state(claim.output, last) != before:
        raise _changed(claim)
    if before is not None:
        # What says "complete" goes first, so that a mixture of two outputs never says it.
        with contextlib.suppress(FileNotFoundError):
            files.delete_file(files.join(claim.output, last))
        files.delete_tree(claim.output)
    files.rename_tree(claim.work, claim.output, last)
