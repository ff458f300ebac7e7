"""JSON: a manifest item's fields, and what recognisers, caption sets and downloaders write."""

import json
import math
from typing import Any

from beam_pipelines.items import schema
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.sources.account import NoteCode
from beam_pipelines.sources.captions.clock import clock_seconds
from beam_pipelines.sources.captions.languages import language_of_suffix
from beam_pipelines.sources.captions.parsed import BadCaptions, Parsed
from beam_pipelines.sources.captions.plain_text import WORD_STYLE

# Lists of captions, by the name they have in the files of recognisers and of video sites.
_LISTS = ("captions", "segments", "chunks", "transcription", "subtitles", "events")
_TEXT = ("text", "sentence", "caption", "transcript", "word", "punctuated_word", "utf8", "lines")
_START = ("start_seconds", "start", "start_time", "begin", "from")
_END = ("end_seconds", "end", "end_time", "to")
_MAX_METADATA_CHARACTERS = 10_000


def parse_json(text: str) -> Parsed:
    """A list of captions, or an object with captions in one of the known forms.

    Fields that a manifest does not have go to the metadata.

    Raises:
        BadCaptions: neither a list nor an object, or our own fields hold what they may not.
        ValueError: not JSON.
    """
    return captions_of_value(_with_constants_checked(text))


def _with_constants_checked(text: str) -> Any:
    """The value; NaN, which strangers write into their own fields, is refused in ours."""
    try:
        return parse_line(text.encode())
    except ValueError as error:
        if "is not a JSON number" not in str(error):
            raise
        value = json.loads(text.removeprefix("\ufeff"), parse_constant=float)
        ours = value
        if isinstance(value, dict):
            ours = {name: value.get(name) for name in schema.CONTENT if name != "metadata"}
        if _has_constant(ours):
            raise
        return value


def _has_constant(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_constant, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)


def captions_of_value(value: Any) -> Parsed:
    """What a JSON value tells of one media file. Raises BadCaptions."""
    if isinstance(value, list):
        value = {"captions": value}
    if not isinstance(value, dict):
        raise BadCaptions(f"a list or an object was expected, found {str(value)[:40]!r}")
    reader = _ObjectReader(dict(value))
    return reader.read()


def is_captions_of_one(value: Any) -> bool:
    """Whether a value of an object by video id tells of one video."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, str | dict) for each in value)
    known = {*_LISTS, "sentences", "text", "caption", *schema.CONTENT}
    return isinstance(value, dict) and not known.isdisjoint(value)


class _ObjectReader:
    """Takes fields out of an object until only those of a stranger are left."""

    def __init__(self, value: dict[str, Any]):
        self._value = value
        self._parsed = Parsed({})
        self._captions: list[dict[str, Any]] = []
        self._left: dict[str, int] = {}
        self._misfits: list[str] = []

    def read(self) -> Parsed:
        self._read_columns()
        for name in _LISTS:
            if isinstance(self._value.get(name), list):
                self._read_list(self._value.pop(name))
        self._read_single()
        self._read_words()
        self._read_language()
        self._read_own_fields()
        if self._captions:
            self._parsed.content["captions"] = self._captions
        self._keep_rest()
        detail = ", ".join(f"{name} x {number}" for name, number in sorted(self._left.items()))
        self._parsed.note(
            NoteCode.FIELD_LEFT_OUT, f"of captions: {detail}", sum(self._left.values())
        )
        return self._parsed

    def _read_columns(self) -> None:
        """Columns of one length: timestamps with sentences, or start, end and text."""
        value = self._value
        if _are_lists(value, "sentences", "timestamps"):
            rows = list(zip(value.pop("sentences"), value.pop("timestamps"), strict=False))
            self._read_list([{"text": text, "timestamp": span} for text, span in rows])
        elif _are_lists(value, "text", "start", "end"):
            columns = (value.pop(name) for name in ("text", "start", "end"))
            names = ("text", "start", "end")
            rows = zip(*columns, strict=False)
            self._read_list([dict(zip(names, row, strict=True)) for row in rows])

    def _read_list(self, entries: list[Any]) -> None:
        for number, entry in enumerate(entries, start=1):
            for caption in self._captions_of_entry(entry, number):
                try:
                    schema.CAPTION(caption, f"captions[{number - 1}]")
                except schema.SchemaError as error:
                    self._parsed.note(NoteCode.CUE_LEFT_OUT, f"caption {number}: {error}")
                else:
                    self._captions.append(caption)

    def _captions_of_entry(self, entry: Any, number: int) -> list[dict[str, Any]]:
        """The caption of an entry, and those of its words."""
        if not isinstance(entry, dict):
            return [{"text": " ".join(entry.split()) if isinstance(entry, str) else entry}]
        entry = dict(entry)
        words = entry.pop("words") if isinstance(entry.get("words"), list) else []
        caption = self._take_caption(entry)
        if caption is None:
            self._parsed.note(NoteCode.CUE_EMPTY, f"caption {number} has no text")
        spoken = [self._take_caption(dict(w)) if isinstance(w, dict) else None for w in words]
        detail = f"words of caption {number} that have no text"
        self._parsed.note(NoteCode.CUE_EMPTY, detail, spoken.count(None))
        spoken = [{**word, "style": WORD_STYLE} for word in spoken if word]
        return [*([caption] if caption else []), *spoken]

    def _take_caption(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """The caption that an entry tells; its other fields are counted."""
        caption = _caption(entry)
        for name in entry:
            self._left[name] = self._left.get(name, 0) + 1
        return caption

    def _read_single(self) -> None:
        """`caption`, or `text` where nothing else told it: the whole file in one sentence."""
        for name in ("caption", "text"):
            given = self._value.get(name)
            if isinstance(given, str) and not (name == "text" and self._captions):
                del self._value[name]
                if words := " ".join(given.split()):
                    self._captions.append({"text": words})
            elif name == "caption" and isinstance(given, list):
                self._read_list(self._value.pop(name))

    def _read_words(self) -> None:
        """Words with their times beside the sentences, as recognisers list them."""
        for name in ("words", "result"):
            entries = self._value.get(name)
            if isinstance(entries, list) and all(
                isinstance(e, dict) and "word" in e for e in entries
            ):
                self._read_list([{**entry, "style": WORD_STYLE} for entry in self._value.pop(name)])

    def _read_language(self) -> None:
        result = self._value.get("result")
        holder = result if isinstance(result, dict) else self._value
        language = holder.get("language")
        if isinstance(language, str) and self._captions:
            # Some write the name of the language instead of its tag.
            self._parsed.language = language_of_suffix(language) or language

    def _read_own_fields(self) -> None:
        for name in [name for name in schema.CONTENT if name in self._value]:
            needed = {"objects": self._parsed.content.get("objects", [])}
            try:
                schema.check_content(needed | {name: self._value[name]})
            except schema.SchemaError as error:
                self._misfits.append(str(error))
            else:
                self._parsed.content[name] = self._value.pop(name)

    def _keep_rest(self) -> None:
        rest = _storable(self._value)
        self._parsed.content = {
            name: _storable(value) if name == "metadata" else value
            for name, value in self._parsed.content.items()
        }
        large = [
            name
            for name, value in rest.items()
            if len(json.dumps(value)) > _MAX_METADATA_CHARACTERS
        ]
        kept = {name: value for name, value in rest.items() if name not in large}
        if kept:
            self._parsed.content["metadata"] = self._parsed.content.get("metadata", {}) | kept
        why = f" ({'; '.join(self._misfits)})" if self._misfits else ""
        self._parsed.note(NoteCode.FIELD_TO_METADATA, ", ".join(kept) + why, len(kept))
        detail = f"more than {_MAX_METADATA_CHARACTERS} characters: {', '.join(large)}"
        self._parsed.note(NoteCode.FIELD_LEFT_OUT, detail, len(large))


def _are_lists(value: dict[str, Any], *names: str) -> bool:
    return all(isinstance(value.get(name), list) for name in names)


def _storable(value: Any) -> Any:
    """The value with null for what JSON numbers cannot say, and without characters UTF-8 lacks."""
    if isinstance(value, dict):
        return {_storable(str(key)): _storable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_storable(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _caption(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Takes a caption out of an entry; None when the entry has no text."""
    text = _take(entry, _TEXT)
    if text is None and isinstance(entry.get("segs"), list):
        pieces = entry.pop("segs")
        text = "".join(str(each.get("utf8", "")) for each in pieces if isinstance(each, dict))
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        text = " ".join(text)
    if isinstance(text, str):
        text = " ".join(text.split())
    if text in (None, ""):
        return None
    own = {key: entry.pop(key) for key in ("style", "relation") if key in entry}
    language = _take(entry, ("language", "lang"))
    own |= {"language": language} if language is not None else {}
    return {"text": text, **own, **_times(entry)}


def _take(entry: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Takes out the first of some fields that is there and not null, and those that are null."""
    for name in names:
        value = entry.pop(name, None)
        if value is not None:
            return value
    return None


def _times(entry: dict[str, Any]) -> dict[str, Any]:
    """Start and end in seconds, however the entry says them."""
    span = _take(entry, ("timestamp", "segment"))
    offsets, stamps = entry.pop("offsets", None), entry.pop("timestamps", None)
    if isinstance(span, list) and len(span) == 2:
        start, end = span
    elif isinstance(offsets, dict):
        start, end = (_scaled(offsets.get(name), 1e-3) for name in ("from", "to"))
    elif isinstance(stamps, dict):
        start, end = stamps.get("from"), stamps.get("to")
    elif "tStartMs" in entry:
        start = _scaled(entry.pop("tStartMs"), 1e-3)
        end = _sum(start, _scaled(entry.pop("dDurationMs", None), 1e-3))
    else:
        start, end = _take(entry, _START), _take(entry, _END)
        if end is None and start is not None:
            end = _sum(start, _take(entry, ("duration", "dur")))
    if start is None and end is None:
        return {}
    end = start if end is None else end
    return {"start_seconds": _seconds(start), "end_seconds": _seconds(end)}


def _scaled(value: Any, scale: float) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return round(value * scale, 6) if is_number else value


def _sum(start: Any, duration: Any) -> Any:
    start, duration = _seconds(start), _seconds(duration)
    both = isinstance(start, int | float) and isinstance(duration, int | float)
    return round(start + duration, 6) if both else None


def _seconds(value: Any) -> Any:
    """Seconds of a number in digits or of a clock; other values stay, for the schema to refuse."""
    if not isinstance(value, str):
        return value
    for read in (float, clock_seconds):
        try:
            return read(value.strip())
        except ValueError:
            continue
    return value
