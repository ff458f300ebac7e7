"""Corpora at remote addresses: made on this machine, then copied through Beam's file systems."""

import hashlib
import json
import secrets
import tempfile
from pathlib import Path

from mm_models.errors import UserError

_LAST = ("manifest.jsonl", "corpus.json")


def is_remote(output: str) -> bool:
    """Whether `output` is an address such as `gs://bucket/folder`."""
    return "://" in output


def local_folder(output: str) -> Path:
    """Where on this machine the corpus for a remote address is made; the same at every call."""
    digest = hashlib.sha256(output.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mmstack-corpus-{digest}"


def read_remote_info(output: str) -> dict | None:
    """Content of the `corpus.json` at a remote address, or None when there is none.

    Raises:
        UserError: the address cannot be read, or holds a damaged `corpus.json`.
    """
    from beam_pipelines import files

    path = files.join(output, "corpus.json")
    try:
        return json.loads(files.read_bytes(path)) if files.exists(path) else None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); check the address.") from error


def require_writable(output: str) -> None:
    """Writes and removes a small file, so that a bad address fails before a corpus is made for it.

    Raises:
        UserError: the address cannot be written.
    """
    from beam_pipelines import files

    probe = files.join(output, f".tmp-probe-{secrets.token_hex(16)}")
    try:
        files.write_bytes(probe, b"probe")
        files.delete_file(probe)
    except OSError as error:
        raise UserError(f"cannot write to {output} ({error}); check the address.") from error


def upload(folder: Path, output: str) -> None:
    """Copies a finished corpus to a remote address, the manifest and the corpus' description last.

    Raises:
        UserError: the address cannot be written.
    """
    from beam_pipelines import files

    found = sorted(path for path in folder.rglob("*") if path.is_file())
    found.sort(key=lambda path: _LAST.index(path.name) if path.name in _LAST else -1)
    try:
        for path in found:
            address = files.join(output, path.relative_to(folder).as_posix())
            files.write_bytes(address, path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot write to {output} ({error}); check the address.") from error
