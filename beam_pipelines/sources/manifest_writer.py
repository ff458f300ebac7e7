"""Items of an adapter → a manifest and the list of what was rejected."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.items import manifest, schema
from beam_pipelines.publishing.outputs import appearing_files
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, Found
from mm_models.errors import UserError

REJECTS_SUFFIX, NOTES_SUFFIX = ".rejects.jsonl", ".notes.jsonl"


def write_manifest(
    path: str,
    base: str,
    found: Iterable[Found],
    *,
    overwrite: bool = False,
    account: Account | None = None,
) -> tuple[int, list[dict[str, str]]]:
    """Writes a manifest, and beside it what was rejected and what was left out.

    `<path>.rejects.jsonl` has a line for each reject, `<path>.notes.jsonl` one for each note of the
    account; both are absent when they would be empty.

    Args:
        path: manifest to write, local or URL; it appears by rename.
        base: folder that the items' media paths are relative to.
        found: items and rejects of an adapter. Repeated ids and items that break the schema become
            rejects too.
        overwrite: whether to replace an existing manifest.
        account: of the adapter, whose notes are written when it has ended.

    Returns:
        (items written, rejects).

    Raises:
        UserError: when `path` exists or cannot be written, or nothing usable was found.
    """
    rejects: list[dict[str, str]] = []
    name = path.rsplit("/", 1)[-1]
    try:
        with appearing_files(path, overwrite=overwrite) as work:
            whole = files.join(work, name)
            number = manifest.write(whole, _usable(path, base, found, rejects))
            if not number:
                raise UserError(
                    f"nothing usable was found; the first of {len(rejects)} rejects: {rejects[:1]}"
                )
            notes = account.to_json() if account is not None else []
            beside = {REJECTS_SUFFIX: rejects, NOTES_SUFFIX: notes}
            for suffix, lines in beside.items():
                _write_lines(whole + suffix, lines)
        for suffix, lines in beside.items():
            if not lines and files.exists(path + suffix):
                files.delete_file(path + suffix)  # What an earlier run left.
    except OSError as error:
        raise UserError(f"--output {path} cannot be written: {error}") from error
    return number, rejects


def _write_lines(path: str, lines: list[dict[str, Any]]) -> None:
    """Writes JSON lines, where there are any."""
    if lines:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        files.write_bytes(path, text.encode())


def _usable(
    path: str, base: str, found: Iterable[Found], rejects: list[dict[str, str]]
) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for entry in _read(base, found):
        if isinstance(entry, dict):
            entry = _checked(entry, seen)
        if isinstance(entry, dict):
            yield entry | _media_from(path, base, entry)
        else:
            name, reject = entry
            name = name.encode(errors="backslashreplace").decode()  # file names are any bytes
            rejects.append({"id": name, "code": str(reject.code), "detail": reject.detail})


def _read(base: str, found: Iterable[Found]) -> Iterator[Found]:
    try:
        yield from found
    except OSError as error:
        raise UserError(f"the files in {base} cannot be read: {error}") from error


def _checked(item: dict[str, Any], seen: set[str]) -> Found:
    if item["id"] in seen:
        return item["id"], Reject(RejectCode.DUPLICATE_ID, "an earlier item has the same id")
    try:
        schema.check_item(item, require_media=False)
    except schema.SchemaError as error:
        return item["id"], Reject(RejectCode.BAD_METADATA, str(error))
    seen.add(item["id"])
    return item


def _media_from(path: str, base: str, item: dict[str, Any]) -> dict[str, str]:
    """The media, given relative to `base`, as the manifest at `path` has to name them; nothing of
    an item without any."""
    if "media" not in item:
        return {}
    base = base.rstrip("/") if files.is_remote(base) else os.path.abspath(base)
    whole = files.join(base, item["media"])
    folder = files.parent(path)
    inside = whole.startswith(folder + "/") and not files.is_remote(item["media"])
    return {"media": whole[len(folder) + 1 :] if inside else whole}
