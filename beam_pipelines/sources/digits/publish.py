"""Corpora at remote addresses: made on this machine, then copied through Beam's file systems."""

import hashlib
import json
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
        UserError: the address cannot be read.
    """
    from apache_beam.io.filesystems import FileSystems

    path = FileSystems.join(output, "corpus.json")
    try:
        if not FileSystems.exists(path):
            return None
        with FileSystems.open(path) as stream:
            return json.loads(stream.read())
    except Exception as error:  # Every file system raises errors of its own.
        raise UserError(
            f"cannot read {path} ({error}); check the address and its access."
        ) from error


def upload(folder: Path, output: str) -> None:
    """Copies a finished corpus to a remote address, the manifest and the corpus' description last.

    Raises:
        UserError: the address cannot be written.
    """
    from apache_beam.io.filesystems import FileSystems

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files.sort(key=lambda path: _LAST.index(path.name) if path.name in _LAST else -1)
    try:
        for path in files:
            address = FileSystems.join(output, *path.relative_to(folder).parts)
            with FileSystems.create(address) as stream:
                stream.write(path.read_bytes())
    except Exception as error:  # Every file system raises errors of its own.
        raise UserError(f"cannot write to {output} ({error}); check the address.") from error
