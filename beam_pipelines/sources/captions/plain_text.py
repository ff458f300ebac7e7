"""Text files: one caption a line, or one of the layouts that transcripts have in `.txt` files."""

import re
from collections.abc import Callable

from beam_pipelines.sources.account import NoteCode
from beam_pipelines.sources.captions.parsed import (
    MAX_CAPTION_CHARACTERS,
    BadCaptions,
    Parsed,
    timed,
)
from beam_pipelines.sources.captions.subtitles import parse_subtitles

WORD_STYLE = "word"
_SENTENCE_FIELDS = ("text", "transcript", "transcription", "sentence", "caption")
_OTHER_FIELDS = (
    *("conf", "ref", "id", "title", "description", "tags", "url", "date", "author", "speaker"),
    *(
        "duration",
        "label",
        "file",
        "language",
        "uploader",
        "channel",
        "source",
        "licence",
        "license",
    ),
)
# What files of other kinds begin with.
_OTHER_KINDS = ("<?xml", "<!doctype", "<html", "{\\rtf", "%pdf", 'file type = "ootextfile"')
_FEWEST_FIELDS = 2
_FIELD = re.compile(r"([A-Za-z][\w ]{0,20}):\s+(\S.*)")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\t\s*(\d+(?:\.\d+)?)\t(.*)|(\d+\.\d+) +(\d+\.\d+) +(.*)")
_CLOCK_AHEAD = re.compile(r"\s*[\[(]?(?:\d+:)?\d{1,2}:\d{2}(?:[.,]\d+)?[\])]?(?:\s|$)")
_WORD_TABLE = ("WORD", "START", "END")


def parse_txt(text: str) -> Parsed:
    """One caption a line; blank lines are skipped.

    Also read are subtitles that are named `.txt`, lines of `start<TAB>end<TAB>text` in seconds, and
    the form of lip-reading corpora: a field `Text` and a table of words with their times.

    Raises:
        BadCaptions: lines that are not captions, such as another form's fields.
    """
    lines = [line.strip() for line in re.sub(r"\r\n?", "\n", text).split("\n")]
    lines = [line for line in lines if line]
    for is_layout, parse in _LAYOUTS:
        if is_layout(lines):
            return parse(text, lines)
    return _lines_as_captions(lines)


def _lines_as_captions(lines: list[str]) -> Parsed:
    short = [line for line in lines if len(line) <= MAX_CAPTION_CHARACTERS]
    if lines and not short:
        raise BadCaptions(
            f"caption 1 has {len(lines[0])} characters, more than {MAX_CAPTION_CHARACTERS}"
        )
    parsed = Parsed({"captions": [{"text": " ".join(line.split())} for line in short]})
    detail = f"lines of more than {MAX_CAPTION_CHARACTERS} characters"
    parsed.note(NoteCode.CUE_LEFT_OUT, detail, len(lines) - len(short))
    return parsed


def _has_cue_times(lines: list[str]) -> bool:
    return any(line[:1].isdigit() and "-->" in line for line in lines) or lines[:1] == ["WEBVTT"]


def _are_spans(lines: list[str]) -> bool:
    return bool(lines) and all(_SPAN.fullmatch(line) for line in lines)


def _parse_spans(_: str, lines: list[str]) -> Parsed:
    parsed = Parsed({"captions": []})
    for number, line in enumerate(lines, start=1):
        cells = _SPAN.fullmatch(line).groups()
        start, end, words = cells[:3] if cells[0] is not None else cells[3:]
        if float(end) < float(start):
            parsed.note(NoteCode.CUE_LEFT_OUT, f"line {number}: it ends before it starts")
        elif words := " ".join(words.split()):
            parsed.content["captions"].append(timed(words, float(start), float(end)))
    return parsed


def _is_word_table(line: str) -> bool:
    return tuple(word.upper() for word in line.split()[:3]) == _WORD_TABLE


def _is_form(lines: list[str]) -> bool:
    """Fields of a known name, or with numbers, or a heading of a table: no line is a caption."""
    fields = [match for line in lines if (match := _FIELD.fullmatch(line))]
    names = {match.group(1).strip().lower() for match in fields}
    num_known = len(names.intersection((*_SENTENCE_FIELDS, *_OTHER_FIELDS)))
    begins = len(lines) > 1 and all(_FIELD.fullmatch(line) for line in lines[:_FEWEST_FIELDS])
    has_number = any(_NUMBER.fullmatch(match.group(2)) for match in fields)
    is_mostly_fields = len(fields) >= _FEWEST_FIELDS and 2 * len(fields) >= len(lines)
    is_known = num_known >= _FEWEST_FIELDS and (begins or is_mostly_fields)
    return any(map(_is_word_table, lines)) or is_known or (has_number and is_mostly_fields)


def _parse_form(_: str, lines: list[str]) -> Parsed:
    at = next((i for i, line in enumerate(lines) if _is_word_table(line)), len(lines))
    matches = [match for line in lines[:at] if (match := _FIELD.fullmatch(line))]
    fields = {match.group(1).strip(): match.group(2).strip() for match in matches}
    told = {name.lower(): value for name, value in fields.items()}
    sentence = next((told[name] for name in _SENTENCE_FIELDS if name in told), "")
    parsed = Parsed({})
    words = _table_words(lines[at + 1 :], parsed)
    if not sentence and not words:
        raise BadCaptions(
            f"a form with the fields {', '.join(fields)}, not one caption a line; "
            "only a field `Text`, with or without a table WORD START END, is known"
        )
    sentence = " ".join(sentence.split()) or " ".join(word["text"] for word in words)
    times = {key: words[place][key] for key, place in _ENDS} if words else {}
    parsed.content["captions"] = [{"text": sentence, **times}, *words]
    others = {k: v for k, v in fields.items() if k.lower() not in _SENTENCE_FIELDS}
    if others:
        parsed.content["metadata"] = others
        parsed.note(NoteCode.FIELD_TO_METADATA, ", ".join(others), len(others))
    return parsed


_ENDS = (("start_seconds", 0), ("end_seconds", -1))


def _table_words(rows: list[str], parsed: Parsed) -> list[dict]:
    words = []
    for row in rows:
        cells = row.split()
        try:
            start, end = float(cells[1]), float(cells[2])
            if not 0 <= start <= end < 1e6:
                raise ValueError(row)
        except (IndexError, ValueError):
            parsed.note(NoteCode.CUE_LEFT_OUT, f"not a word with its times: {row[:40]!r}")
            continue
        words.append(timed(cells[0], start, end) | {"style": WORD_STYLE})
    return words


def _is_numbers(lines: list[str]) -> bool:
    """Rows of a table: at least two numbers and a word in nearly every line."""
    full = 0
    for line in lines:
        cells = line.split()
        numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells)
        full += numbers >= 2 and len(cells) >= 3 and 2 * numbers >= len(cells)
    return len(lines) > 1 and 5 * full >= 4 * len(lines)


def _refuse_numbers(_: str, lines: list[str]) -> Parsed:
    raise BadCaptions(
        f"rows of numbers ({lines[0][:40]!r}), not one caption a line; "
        "write start<TAB>end<TAB>text in seconds"
    )


def _is_other_kind(lines: list[str]) -> bool:
    return bool(lines) and lines[0].lower().startswith(_OTHER_KINDS)


def _refuse_kind(_: str, lines: list[str]) -> Parsed:
    raise BadCaptions(f"a file of another kind, it begins {lines[0][:30]!r}")


def _has_clocks_ahead(lines: list[str]) -> bool:
    return len(lines) > 1 and 2 * sum(bool(_CLOCK_AHEAD.match(line)) for line in lines) >= len(
        lines
    )


def _refuse_clocks(_: str, lines: list[str]) -> Parsed:
    raise BadCaptions(
        f"lines begin with times ({lines[0][:20]!r}), which a text file cannot give to captions; "
        "write .srt, .vtt or start<TAB>end<TAB>text in seconds"
    )


_Layout = tuple[Callable[[list[str]], bool], Callable[[str, list[str]], Parsed]]
_LAYOUTS: tuple[_Layout, ...] = (
    (_is_other_kind, _refuse_kind),
    (_has_cue_times, lambda text, _: parse_subtitles(text)),
    (_are_spans, _parse_spans),
    (_is_form, _parse_form),
    (_is_numbers, _refuse_numbers),
    (_has_clocks_ahead, _refuse_clocks),
)
