"""A folder of media with sidecar captions → manifest items.

`clips/a.mp4` gets the captions of `clips/a.srt`, `.vtt`, `.txt`, `.json` or `.align`, or of the
same names after the full file name (`clips/a.mp4.srt`). Several sidecars add up.
"""

import os
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.captions import PARSERS, CaptionFile, read_captions
from mm_models.errors import UserError

_VIDEO = "mp4 m4v mov mkv webm avi flv ts mts mpg mpeg wmv ogv 3gp h264 gif"
_AUDIO = "wav mp3 flac ogg oga opus m4a aac aiff aif wma"
_IMAGES = "jpg jpeg png bmp webp tif tiff"
MEDIA_EXTENSIONS = frozenset(
    f".{word}" for kind in (_VIDEO, _AUDIO, _IMAGES) for word in kind.split()
)
_LIST_FIELDS = ("captions", "labels", "objects", "relations", "utterances", "questions")


def read_folder(
    folder: str, *, labels_from_folders: bool = False
) -> Iterator[dict[str, Any] | tuple[str, Reject]]:
    """Yields manifest items of a folder, sorted by path, and (path, Reject) for bad sidecars.

    Args:
        folder: local folder or URL, read at any depth. Ids and media paths are relative to it.
        labels_from_folders: give each item the name of its folder as label; indices follow the
            sorted names.

    Raises:
        UserError: when no media are found.
    """
    base = folder.rstrip("/")
    names = {path[len(base) + 1 :] for path, _ in files.list_files(base)}
    media = sorted(name for name in names if _extension(name) in MEDIA_EXTENSIONS)
    if not media:
        raise UserError(f"folder {folder} holds no media files; check --folder")
    labels = sorted({_folder_name(name) for name in media})
    for name in media:
        item: dict[str, Any] = {"id": name, "media": name}
        if labels_from_folders:
            text = _folder_name(name)
            item["labels"] = [{"index": labels.index(text), "text": text}]
        yield _with_sidecars(item, base, _sidecars(name, names))


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _folder_name(name: str) -> str:
    return os.path.basename(os.path.dirname(name))


def _sidecars(name: str, names: set[str]) -> list[str]:
    stem = os.path.splitext(name)[0]
    candidates = (start + extension for start in (stem, name) for extension in PARSERS)
    return [candidate for candidate in candidates if candidate in names]


def _with_sidecars(
    item: dict[str, Any], base: str, sidecars: list[str]
) -> dict[str, Any] | tuple[str, Reject]:
    if not item["id"].isprintable():
        return item["id"], Reject(RejectCode.BAD_METADATA, "the file name is not printable")
    for sidecar in sidecars:
        found = read_captions(files.join(base, sidecar))
        if isinstance(found, Reject):
            return item["id"], found
        add_captions(item, found)
    return item


def add_captions(item: dict[str, Any], found: CaptionFile) -> None:
    """Adds a caption file's content to an item; an encoding other than UTF-8 is recorded."""
    for key, value in found.content.items():
        if key in _LIST_FIELDS:
            item[key] = item.get(key, []) + value
        elif key == "metadata":
            item[key] = item.get(key, {}) | value
        else:
            item[key] = value
    if found.encoding != "utf-8":
        item["metadata"] = item.get("metadata", {}) | {"caption_encoding": found.encoding}
