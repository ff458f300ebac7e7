"""SubStation Alpha (`.ass`, `.ssa`): the dialogue of the `[Events]` section."""

import re
from collections.abc import Iterator

from beam_pipelines.sources.account import NoteCode
from beam_pipelines.sources.captions.clock import clock_seconds
from beam_pipelines.sources.captions.parsed import BadCaptions, Parsed, timed

_DEFAULT_FIELDS = [
    *("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
]
_OVERRIDE = re.compile(r"\{([^{}]*)\}")
_DRAWING = re.compile(r"\\p(\d+)")
_BREAK = re.compile(r"\\[Nnh]")


def parse_substation(text: str) -> Parsed:
    """Timed captions; overrides and drawings are removed, line breaks become spaces.

    Raises:
        BadCaptions: there is no `[Events]` section.
    """
    parsed = Parsed({"captions": []})
    fields = _DEFAULT_FIELDS
    removed = {"overrides": 0, "comment lines": 0}
    for number, kind, rest in _events(text):
        if kind == "format":
            fields = [name.strip().lower() for name in rest.split(",")]
        elif kind == "comment":
            removed["comment lines"] += 1
        elif kind == "dialogue":
            try:
                start_seconds, end_seconds, words = _dialogue(rest, fields)
            except BadCaptions as error:
                parsed.note(NoteCode.CUE_LEFT_OUT, f"line {number}: {error}")
                continue
            plain, num_overrides = dialogue_text(words)
            removed["overrides"] += num_overrides
            parsed.note(NoteCode.CUE_EMPTY, f"line {number} has no text", int(not plain))
            if plain:
                parsed.content["captions"].append(timed(plain, start_seconds, end_seconds))
    for what, count in removed.items():
        parsed.note(NoteCode.MARKUP_REMOVED, what, count)
    return parsed


def _events(text: str) -> Iterator[tuple[int, str, str]]:
    """(number, kind in lower case, rest) of each line of the section of events."""
    section, has_events = "", False
    for number, line in enumerate(re.sub(r"\r\n?", "\n", text).split("\n"), start=1):
        if line.strip().startswith("["):
            section = line.strip().lower()
            has_events = has_events or section == "[events]"
        kind, colon, rest = line.strip().partition(":")
        if section == "[events]" and colon:
            yield number, kind.lower(), rest
    if not has_events:
        raise BadCaptions("no [Events] section")


def _dialogue(rest: str, fields: list[str]) -> tuple[float, float, str]:
    cells = rest.split(",", len(fields) - 1)
    event = dict(zip(fields, cells, strict=False))
    if not {"start", "end", "text"} <= set(event):
        raise BadCaptions(f"a dialogue line without start, end and text: {rest[:60]!r}")
    start_seconds = clock_seconds(event["start"].strip())
    end_seconds = clock_seconds(event["end"].strip())
    if end_seconds < start_seconds:
        raise BadCaptions(f"it ends before it starts: {rest[:60]!r}")
    return start_seconds, end_seconds, event["text"]


def dialogue_text(text: str) -> tuple[str, int]:
    """(plain text, overrides removed) of a dialogue's text field."""
    plain, is_drawing, removed = [], False, 0
    for place, piece in enumerate(_OVERRIDE.split(text)):
        if place % 2:
            removed += 1
            if drawing := _DRAWING.search(piece):
                is_drawing = drawing.group(1) != "0"
        elif not is_drawing:
            plain.append(_BREAK.sub(" ", piece))
    return " ".join("".join(plain).split()), removed
