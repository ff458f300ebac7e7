"""JSON files with the captions of many media, by their ids → the captions of one."""

import os
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.captions.caption_file import CaptionFile, finish_captions
from beam_pipelines.sources.captions.encodings import decode_text
from beam_pipelines.sources.captions.json_captions import captions_of_value, is_captions_of_one
from beam_pipelines.sources.captions.parsed import BadCaptions

_MAX_FILE_BYTES = 1 << 30
# What a row may call the file that it is about.
_FILE_KEYS = ("file", "filename", "file_name", "media", "video", "path")


class CaptionsById:
    """Captions of a folder's media from its files that belong to no single one.

    Attributes:
        used: the files that captions were taken from.
    """

    def __init__(self, base: str, names: list[str], media: list[str], account: Account):
        self.used: list[str] = []
        self._account = account
        self._by_media: dict[str, list[tuple[str, Any]]] = {}
        by_id: dict[str, list[str]] = {}
        for path in media:
            for key in _ids(path):
                by_id.setdefault(key, []).append(path)
        for name in names:
            if name.lower().endswith(".json"):
                self._read(base, name, by_id)
            elif name.lower().endswith((".csv", ".tsv")):
                detail = (
                    "a table that no media file is named after; `mmstack manifest csv` reads it"
                )
                account.note(NoteCode.CAPTIONS_WITHOUT_MEDIA, name, detail)

    def _read(self, base: str, name: str, by_id: dict[str, list[str]]) -> None:
        note = self._account.note
        try:
            with files.open_read(files.join(base, name)) as file:
                content = file.read(_MAX_FILE_BYTES + 1)
            if len(content) > _MAX_FILE_BYTES:
                raise ValueError(f"more than {_MAX_FILE_BYTES} bytes")
            value = parse_line(decode_text(content)[0].encode())
        except (FileNotFoundError, ValueError, RecursionError) as error:
            note(NoteCode.CAPTIONS_REFUSED, name, str(error))
            return
        value = _rows_by_file(value)
        if not isinstance(value, dict) or not any(key in by_id for key in value):
            note(NoteCode.CAPTIONS_WITHOUT_MEDIA, name, _what_it_is(value))
            return
        self.used.append(name)
        for key, entry in value.items():
            entry = [entry] if isinstance(entry, str) else entry
            if key in by_id and is_captions_of_one(entry):
                for path in by_id[key]:
                    self._by_media.setdefault(path, []).append((name, entry))
        strangers = [key for key in value if key not in by_id]
        detail = f"no media of the id {strangers[0]}" if strangers else ""
        note(NoteCode.CAPTIONS_WITHOUT_MEDIA, name, detail, len(strangers))
        odd = [k for k, v in value.items() if k in by_id and not is_captions_of_one(v)]
        odd = [key for key in odd if not isinstance(value[key], str)]
        note(NoteCode.CAPTIONS_REFUSED, name, f"no captions under {odd[:1]}", len(odd))

    def captions_of(self, media: str) -> CaptionFile | None:
        """What the files tell of one media file, or None."""
        content: dict[str, Any] = {}
        for name, entry in self._by_media.get(media, ()):
            try:
                parsed = captions_of_value(entry)
            except BadCaptions as error:
                self._account.note(NoteCode.CAPTIONS_REFUSED, name, f"of {media}: {error}")
                continue
            finish_captions(parsed)
            for note in parsed.notes:
                self._account.note(note.code, name, f"of {media}: {note.detail}", note.count)
            captions = content.get("captions", []) + parsed.content.pop("captions", [])
            content |= parsed.content | ({"captions": captions} if captions else {})
        return CaptionFile(content, "utf-8") if content else None


def _ids(path: str) -> set[str]:
    """What a media file may be called: its path or name, with its extension or without."""
    name = os.path.basename(path)
    return {path, os.path.splitext(path)[0], name, os.path.splitext(name)[0]}


def _rows_by_file(value: Any) -> Any:
    """Rows that each name their file, alone or under one key of an object, as an object by file;
    anything else as it is."""
    lists = [value] if isinstance(value, list) else []
    if isinstance(value, dict):
        lists = [rows for rows in value.values() if isinstance(rows, list)]
    for rows in lists:
        named = [row for row in rows if isinstance(row, dict)]
        key = next((key for key in _FILE_KEYS if all(key in row for row in named)), "")
        if named and len(named) == len(rows) and key:
            names = [row[key] for row in rows]
            if len(set(map(str, names))) == len(rows):
                return {str(row[key]): {k: row[k] for k in row if k != key} for row in rows}
    return value


def _what_it_is(value: Any) -> str:
    if isinstance(value, dict) and {"images", "annotations"} <= set(value):
        return "COCO annotations; `mmstack manifest coco` reads them"
    return "it names no media of the folder"
