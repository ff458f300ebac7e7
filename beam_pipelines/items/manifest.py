"""The manifest: one JSON object a line, one line a media item.

Only `id` and `media` are required; `media` is relative to the manifest's folder, absolute, or a
URL. `start_seconds` and `end_seconds` make the item a segment of its file:

    {"id": "a", "media": "a.mp4", "split": "train", "captions": [{"text": "a dog barks"}]}

`group` and `group_index` say which whole the item is a part of and its place there, as of a segment
in its video. `schema.py` lists every field. The manifest may be remote. Reading keeps one line in
memory.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from beam_pipelines import files
from beam_pipelines.items.schema import SPLITS, SchemaError, check_item
from mm_models.errors import UserError

DEFAULT_SPLIT_SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
MAX_LABELS = 1_000_000
_BOM = b"\xef\xbb\xbf"


@dataclasses.dataclass(frozen=True)
class ManifestLine:
    """A checked line.

    Attributes:
        number: line number, from 1.
        offset: first byte of the line in the file.
        size_bytes: bytes of the line.
        item: its JSON object.
    """

    number: int
    offset: int
    size_bytes: int
    item: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class ManifestSummary:
    """What one pass over a manifest finds.

    Attributes:
        offsets: int64[items] byte offset of every item's line.
        sizes_bytes: int64[items] bytes of every line.
        duplicates: bool[items] true where an earlier line has the same id.
        media_bytes: int64[items] size of the media file; 0 when remote, missing or not asked for.
        local_media: the first media path that is one of this machine; empty where none is.
        labels: class names by index; empty where the manifest names none.
        split_items: items by the split their line gives; `""` for lines without one.
        sha256: hash of the manifest's bytes.
    """

    offsets: np.ndarray
    sizes_bytes: np.ndarray
    duplicates: np.ndarray
    media_bytes: np.ndarray
    local_media: str
    labels: list[str]
    split_items: dict[str, int]
    sha256: str


def read(path: str, *, require_media: bool = True, digest: Any = None) -> Iterator[ManifestLine]:
    """Reads and checks a manifest line by line; blank lines are skipped.

    Args:
        path: manifest.
        require_media: whether lines without `media` are an error.
        digest: hashlib object that is fed the file's bytes.

    Raises:
        UserError: when the file is missing or empty, or a line is wrong; it names file, line and
            field.
    """
    found = False
    for number, offset, line in _raw_lines(path):
        if digest:
            digest.update(line)
        if line.strip():
            found = True
            yield ManifestLine(
                number, offset, len(line), _checked(path, number, line, require_media)
            )
    if not found:
        raise UserError(f"manifest {path} holds no items; write one JSON object a line")


def _raw_lines(path: str) -> Iterator[tuple[int, int, bytes]]:
    try:
        with files.open_read(path) as file:
            offset = 0
            for number, line in enumerate(file, start=1):
                yield number, offset, line
                offset += len(line)
    except (OSError, IsADirectoryError) as error:
        raise UserError(f"manifest {path} cannot be read: {error}; check --manifest") from error


def _checked(path: str, number: int, line: bytes, require_media: bool) -> dict[str, Any]:
    try:
        item = parse_line(line)
        check_item(item, require_media=require_media)
    except (SchemaError, ValueError, RecursionError) as error:
        raise UserError(f"{path} line {number}, {error}") from error
    return item


def parse_line(line: bytes) -> Any:
    """JSON value of one line. Raises ValueError for bad JSON, encodings and NaN."""
    try:
        return json.loads(line.removeprefix(_BOM), parse_constant=_reject_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error


def _reject_constant(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def scan(path: str, *, require_media: bool = True, measure_media: bool = False) -> ManifestSummary:
    """Checks a whole manifest in one pass, keeping a few numbers per item.

    Args:
        path: manifest.
        require_media: whether lines without `media` are an error.
        measure_media: look up the sizes of local media files, to balance work, and whether
            addresses are of a kind that can be read.

    Raises:
        UserError: for the first bad line, and for labels whose names disagree.
    """
    digest, offsets, sizes, hashes, media_bytes = hashlib.sha256(), [], [], [], []
    labels: dict[int, str] = {}
    split_items: dict[str, int] = {}
    local_media, schemes = "", set()
    for line in read(path, require_media=require_media, digest=digest):
        offsets.append(line.offset)
        sizes.append(line.size_bytes)
        hashes.append(stable_hash(line.item["id"]))
        media = media_path(path, line.item) if measure_media else ""
        media_bytes.append(_media_bytes(media))
        if not (local_media or files.is_remote(media)):
            local_media = media
        if (scheme := media.partition("://")[0]) not in schemes and files.is_remote(media):
            _check_scheme(path, line, media)
            schemes.add(scheme)
        _merge_labels(labels, line, path)
        split = line.item.get("split", "")
        split_items[split] = split_items.get(split, 0) + 1
    first = np.zeros(len(hashes), dtype=bool)
    first[np.unique(np.asarray(hashes, dtype=np.uint64), return_index=True)[1]] = True
    return ManifestSummary(
        np.asarray(offsets, dtype=np.int64),
        np.asarray(sizes, dtype=np.int64),
        ~first,
        np.asarray(media_bytes, dtype=np.int64),
        local_media,
        _label_list(labels),
        split_items,
        digest.hexdigest(),
    )


def _check_scheme(path: str, line: ManifestLine, media: str) -> None:
    try:
        files.check_scheme(media)
    except ValueError as error:
        raise UserError(
            f"{path} line {line.number}, field media: nothing that is installed reads {media}; "
            "install Beam's package for it, such as mmstack[gcp] for gs://, or mend the address"
        ) from error


def _media_bytes(media: str) -> int:
    if not media or files.is_remote(media):
        return 0
    try:
        return os.stat(media).st_size
    except (OSError, ValueError):
        return 0


def _merge_labels(labels: dict[int, str], line: ManifestLine, path: str) -> None:
    for position, label in enumerate(line.item.get("labels", ())):
        index, name = label["index"], label["text"]
        field = f"{path} line {line.number}, field labels[{position}]"
        if index >= MAX_LABELS:
            raise UserError(f"{field}: index {index} is not below {MAX_LABELS}")
        if labels.setdefault(index, name) != name:
            raise UserError(
                f"{field}: label {index} is {name!r} here and {labels[index]!r} in an earlier line"
            )


def _label_list(labels: dict[int, str]) -> list[str]:
    return [labels.get(index, "") for index in range(max(labels, default=-1) + 1)]


def media_path(manifest_path: str, item: dict[str, Any]) -> str:
    """Path or URL of an item's media."""
    return files.join(files.parent(manifest_path), item["media"])


def stable_hash(text: str, salt: str = "") -> int:
    """64-bit hash of a string, the same on every machine and in every process."""
    digest = hashlib.sha256(f"{salt}\x00{text}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def split_of(item: dict[str, Any], shares: dict[str, float]) -> str:
    """Split of an item: the one it names, or else one drawn by a stable hash.

    The hash is that of its group where it has one, so that no group is on two sides, else of its
    id.

    Args:
        item: manifest item.
        shares: split → share, summing to 1.
    """
    if "split" in item:
        return item["split"]
    position = stable_hash(item.get("group", item["id"]), "split") / 2**64
    reached = 0.0
    for split, share in shares.items():
        reached += share
        if position < reached:
            return split
    return max(shares, key=lambda split: shares[split])


def parse_split_shares(text: str) -> dict[str, float]:
    """Reads `train=0.8,val=0.1,test=0.1`. Raises UserError unless the shares sum to 1."""
    shares = {}
    for piece in text.split(","):
        split, _, value = piece.partition("=")
        try:
            shares[split.strip()] = float(value)
        except ValueError:
            raise UserError(
                f"--split_shares {text}: {piece!r} is not split=share; write train=0.8,test=0.2"
            ) from None
    bad = [split for split in shares if split not in SPLITS]
    if bad or any(not value >= 0 for value in shares.values()):
        raise UserError(f"--split_shares {text}: splits are {', '.join(SPLITS)}, shares at least 0")
    if abs(sum(shares.values()) - 1.0) > 1e-6:
        raise UserError(f"--split_shares {text}: the shares sum to {sum(shares.values())}, not 1")
    return shares


def write(path: str, items: Iterable[dict[str, Any]]) -> int:
    """Checks items and writes them as a manifest; returns how many.

    Raises:
        SchemaError: for an item that is not valid.
    """
    number = 0
    with files.open_write(path) as file:
        for item in items:
            check_item(item, require_media=False)
            file.write(json.dumps(item, ensure_ascii=False).encode() + b"\n")
            number += 1
    return number
