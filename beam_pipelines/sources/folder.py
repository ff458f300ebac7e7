"""A folder of media with sidecar captions → manifest items.

`clips/a.mp4` gets the captions of `clips/a.srt`, `clips/a.en.vtt` (language `en`) and of the same
names after the full file name (`clips/a.mp4.srt`); `captions.caption_file.PARSERS` lists the kinds.
Several sidecars add up. A JSON file with the captions of many media, by their names, is read too.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.captions.caption_file import PARSERS, CaptionFile, read_captions
from beam_pipelines.sources.captions.languages import language_behind, language_of_suffix
from beam_pipelines.sources.captions_by_id import CaptionsById
from beam_pipelines.sources.media_files import extension, is_media
from mm_models.errors import UserError

_LIST_FIELDS = ("captions", "labels", "objects", "relations", "utterances", "questions")
_INFORMATION = "info"
_NAMED_EXAMPLES = 3


def read_folder(
    folder: str,
    *,
    labels_from_folders: bool = False,
    encoding: str = "",
    account: Account | None = None,
) -> Iterator[dict[str, Any] | tuple[str, Reject]]:
    """Yields manifest items of a folder, sorted by path, and (path, Reject) for bad sidecars.

    Args:
        folder: local folder or URL, read at any depth. Ids and media paths are relative to it.
        labels_from_folders: give each item the name of its folder as label; indices follow the
            sorted names.
        encoding: of caption files that are not UTF-8; empty: detected.
        account: gets what was left out, and numbers that add up to the files found.

    Raises:
        UserError: when no media are found.
    """
    base = folder.rstrip("/")
    account = Account() if account is None else account
    contents = _Contents(base)
    if not contents.media:
        raise UserError(f"folder {folder} holds no media files; check --folder")
    shared = CaptionsById(base, contents.unclaimed, contents.media, account)
    labels = sorted({_folder_name(name) for name in contents.media})
    without: list[str] = []
    for name in contents.media:
        item: dict[str, Any] = {"id": name, "media": name}
        if labels_from_folders:
            text = _folder_name(name)
            item["labels"] = [{"index": labels.index(text), "text": text}]
        if found := shared.captions_of(name):
            add_captions(item, found, account)
        entry = _with_sidecars(item, base, contents.sidecars.get(name, []), encoding, account)
        if isinstance(entry, dict) and not entry.get("captions"):
            without.append(name)
        yield entry
    account.note(NoteCode.ITEM_WITHOUT_CAPTIONS, _some(without), "no caption", len(without))
    contents.account_for_files(shared.used, account)


class _Contents:
    """The files of a folder, sorted by what they are for."""

    def __init__(self, base: str):
        names = {path[len(base) + 1 :] for path, _ in files.list_files(base)}
        self.media = sorted(
            name for name in names if extension(name) not in PARSERS and _is_media(base, name)
        )
        self.sidecars: dict[str, list[tuple[str, str]]] = {}
        self.unclaimed: list[str] = []
        by_name = _names_of_media(self.media)
        for name in sorted(names - set(self.media), key=_reading_order):
            if extension(name) in PARSERS:
                self._claim(name, by_name)
        self._others = sorted(
            name for name in names - set(self.media) if extension(name) not in PARSERS
        )
        self._num_found = len(names)

    def _claim(self, sidecar: str, by_name: dict[str, list[str]]) -> None:
        """Gives a caption file to the media whose name it begins with."""
        whole = os.path.splitext(sidecar)[0]
        stem = next((stem for stem in _stems(whole) if stem in by_name), None)
        suffix = "" if stem is None else whole[len(stem) + 1 :]
        language = "" if suffix in ("", _INFORMATION) else language_of_suffix(suffix)
        if stem is None or language is None:
            self.unclaimed.append(sidecar)
            return
        for media in by_name[stem]:
            self.sidecars.setdefault(media, []).append((sidecar, language))

    def account_for_files(self, used: list[str], account: Account) -> None:
        """Notes each file that nothing was read from, and checks that all are accounted for.

        Raises:
            RuntimeError: when the numbers disagree, which is a defect of this adapter.
        """
        sidecars = {name for claimed in self.sidecars.values() for name, _ in claimed}
        unused = [name for name in self.unclaimed if name not in used]
        noted = {note.name for note in account.notes}
        for name in unused:
            if name not in noted:
                detail = "no media of this name, or a part of the name is no language"
                account.note(NoteCode.CAPTIONS_WITHOUT_MEDIA, name, detail)
        kinds = sorted({extension(name) for name in self._others})
        for kind in kinds:
            names = [name for name in self._others if extension(name) == kind]
            shown = f"files {kind}" if kind else "files without extension"
            account.note(NoteCode.FILE_NOT_READ, shown, _some(names), len(names))
        numbers = {
            "media files": len(self.media),
            "caption files": len(sidecars) + len(used),
            "files left out": len(unused) + len(self._others),
        }
        if sum(numbers.values()) != self._num_found:
            raise RuntimeError(f"counts disagree: {self._num_found} files found, {numbers}")
        account.tallies |= {"files found": self._num_found, **numbers}
        account.remarks.append(
            f"checked: files found = {' + '.join(numbers)} "
            f"({self._num_found} = {' + '.join(map(str, numbers.values()))})"
        )


def _stems(whole: str) -> Iterator[str]:
    """What the media of a caption file may be called, the longest first."""
    yield whole
    stem = whole
    while "." in os.path.basename(stem)[1:]:
        stem = stem.rpartition(".")[0]
        yield stem
    for mark in "_-":
        if found := language_behind(whole, mark):
            yield found[0]


def _is_media(base: str, name: str) -> bool:
    return is_media(files.join(base, name))


def _names_of_media(media: list[str]) -> dict[str, list[str]]:
    """Media by what their sidecars are called before the first dot of their own."""
    by_name: dict[str, list[str]] = {}
    for name in media:
        for start in (os.path.splitext(name)[0], name):
            by_name.setdefault(start, []).append(name)
    return by_name


def _reading_order(name: str) -> tuple[str, int]:
    """Sidecars of one media file in the order of their kinds."""
    kinds = list(PARSERS)
    kind = extension(name)
    return os.path.splitext(name)[0], kinds.index(kind) if kind in kinds else len(kinds)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED_EXAMPLES])
    return shown + (f" and {len(names) - _NAMED_EXAMPLES} more" if names[_NAMED_EXAMPLES:] else "")


def _folder_name(name: str) -> str:
    return os.path.basename(os.path.dirname(name))


def _with_sidecars(
    item: dict[str, Any],
    base: str,
    sidecars: list[tuple[str, str]],
    encoding: str,
    account: Account,
) -> dict[str, Any] | tuple[str, Reject]:
    """The item with what its sidecars tell; a reject when the only captions cannot be used."""
    if not item["id"].isprintable():
        return item["id"], Reject(RejectCode.BAD_METADATA, "the file name is not printable")
    refused = []
    for sidecar, language in sidecars:
        found = read_captions(files.join(base, sidecar), encoding=encoding, language=language)
        if isinstance(found, Reject):
            refused.append((sidecar, found))
        else:
            add_captions(item, found, account)
    if refused and not item.get("captions"):
        return item["id"], refused[0][1]
    for sidecar, reject in refused:
        account.note(NoteCode.CAPTIONS_REFUSED, sidecar, reject.detail)
    return item


def add_captions(item: dict[str, Any], found: CaptionFile, account: Account) -> None:
    """Adds a caption file's content to an item; an encoding other than UTF-8 is recorded."""
    account.add(found.notes)
    for key, value in found.content.items():
        if key in _LIST_FIELDS:
            told = {json.dumps(entry, sort_keys=True) for entry in item.get(key, ())}
            fresh = [entry for entry in value if json.dumps(entry, sort_keys=True) not in told]
            item[key] = item.get(key, []) + fresh
            detail = f"{key} of {item['id']} that another file tells too"
            name = found.notes[0].name if found.notes else item["id"]
            account.note(NoteCode.CAPTION_REPEATED, name, detail, len(value) - len(fresh))
        elif key == "metadata":
            item[key] = item.get(key, {}) | value
        else:
            item[key] = value
    if found.encoding != "utf-8":
        item["metadata"] = item.get("metadata", {}) | {"caption_encoding": found.encoding}
