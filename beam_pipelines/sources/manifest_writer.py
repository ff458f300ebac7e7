"""Items of an adapter → a manifest and the list of what was rejected."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.items import manifest, schema
from beam_pipelines.rejects import Reject, RejectCode
from mm_models.errors import UserError

Found = dict[str, Any] | tuple[str, Reject]


def write_manifest(
    path: str, base: str, found: Iterable[Found], *, overwrite: bool = False
) -> tuple[int, list[dict[str, str]]]:
    """Writes a manifest, and beside it `<path>.rejects.jsonl` when anything was rejected.

    Args:
        path: manifest to write, local or URL; it appears by rename.
        base: folder that the items' media paths are relative to.
        found: items and rejects of an adapter. Repeated ids and items that break the schema become
            rejects too.
        overwrite: whether to replace an existing manifest.

    Returns:
        (items written, rejects).

    Raises:
        UserError: when `path` exists or cannot be written, or nothing usable was found.
    """
    if files.exists(path) and not overwrite:
        raise UserError(f"--output {path} exists; name another path or add --overwrite")
    rejects: list[dict[str, str]] = []
    unfinished = files.join(files.parent(path), f".tmp-{os.getpid()}-{os.path.basename(path)}")
    try:
        files.make_folder(files.parent(path))
        number = manifest.write(unfinished, _usable(path, base, found, rejects))
        if not number:
            raise UserError(
                f"nothing usable was found; the first of {len(rejects)} rejects: {rejects[:1]}"
            )
        files.rename_file(unfinished, path)
        if rejects:
            lines = "".join(json.dumps(reject, ensure_ascii=False) + "\n" for reject in rejects)
            files.write_bytes(f"{path}.rejects.jsonl", lines.encode())
    except OSError as error:
        raise UserError(f"--output {path} cannot be written: {error}") from error
    finally:
        if files.exists(unfinished):
            files.delete_file(unfinished)
    return number, rejects


def _usable(
    path: str, base: str, found: Iterable[Found], rejects: list[dict[str, str]]
) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for entry in _read(base, found):
        if isinstance(entry, dict):
            entry = _checked(entry, seen)
        if isinstance(entry, dict):
            yield entry | {"media": _media_from(path, base, entry["media"])}
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
        schema.check_item(item)
    except schema.SchemaError as error:
        return item["id"], Reject(RejectCode.BAD_METADATA, str(error))
    seen.add(item["id"])
    return item


def _media_from(path: str, base: str, media: str) -> str:
    """`media`, given relative to `base`, as the manifest at `path` has to name it."""
    base = base.rstrip("/") if files.is_remote(base) else os.path.abspath(base)
    whole = files.join(base, media)
    folder = files.parent(path)
    inside = whole.startswith(folder + "/") and not files.is_remote(media)
    return whole[len(folder) + 1 :] if inside else whole
