"""Caption files: SubRip, WebVTT, plain text, JSON, and GRID word alignments.

Decoding is tolerant and explicit: UTF-8 with or without a byte order mark, UTF-16 with one, and
Latin-1 as the last resort, which is recorded because any bytes are valid Latin-1. What cannot be
trusted (NUL bytes, reversed times, lines too long to be captions, broken JSON) is a Reject with the
reason.
"""

import codecs
import dataclasses
import html
import os
import re
from collections.abc import Callable
from typing import Any

from beam_pipelines import files
from beam_pipelines.items import schema
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.rejects import Reject, RejectCode

MAX_FILE_BYTES = 16 << 20
MAX_CAPTION_CHARACTERS = 10_000
_GRID_TICKS_PER_SECOND = 25_000
_GRID_SILENCE = ("sil", "sp")
_TIMING = re.compile(r"^\s*(\S+)\s+-->\s+(\S+)")
_CLOCK = re.compile(r"^(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})$")
_TAG = re.compile(r"<[^<>]*>|\{\\[^}]*\}")
_VTT_BLOCK = re.compile(r"^(WEBVTT|NOTE|STYLE|REGION)(\s|$)")


@dataclasses.dataclass(frozen=True)
class CaptionFile:
    """What a caption file holds.

    Attributes:
        content: manifest fields, such as `captions`.
        encoding: `utf-8`, `utf-16` or `latin-1`.
    """

    content: dict[str, Any]
    encoding: str


class _BadCaptions(ValueError):
    """The file cannot be trusted; the text says why."""


def decode_text(content: bytes) -> tuple[str, str]:
    """(text, encoding) of a text file.

    Args:
        content: bytes; a byte order mark decides, else UTF-8, else Latin-1.

    Raises:
        ValueError: for cut UTF-16 and for NUL characters, signs of damage or of another encoding.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            text, encoding = content.decode("utf-16"), "utf-16"
        except UnicodeDecodeError as error:
            raise ValueError(f"damaged UTF-16: {error.reason}") from error
    else:
        try:
            text, encoding = content.decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError:
            text, encoding = content.decode("latin-1"), "latin-1"
    if "\x00" in text:
        raise ValueError(f"NUL character at position {text.index(chr(0))}")
    return text, encoding


def read_captions(path: str) -> CaptionFile | Reject:
    """Reads a caption file of any known kind; the extension decides which.

    Args:
        path: a file whose extension is in `PARSERS`; may be remote.

    Returns:
        Its content, or a Reject with the reason.
    """
    parser = PARSERS[os.path.splitext(path)[1].lower()]
    try:
        with files.open_read(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise _BadCaptions(f"more than {MAX_FILE_BYTES} bytes")
        text, encoding = decode_text(content)
        found = parser(text)
        for number, caption in enumerate(found.get("captions", ()), start=1):
            _check_caption(caption, number)
    except (ValueError, RecursionError) as error:
        return Reject(RejectCode.BAD_CAPTIONS, f"{os.path.basename(path)}: {error}")
    except OSError as error:
        return Reject(RejectCode.FILE_MISSING, f"{path}: {error.strerror or error}")
    return CaptionFile(found, encoding)


def _check_caption(caption: dict[str, Any], number: int) -> None:
    if len(caption["text"]) > MAX_CAPTION_CHARACTERS:
        raise _BadCaptions(
            f"caption {number} has {len(caption['text'])} characters, "
            f"more than {MAX_CAPTION_CHARACTERS}"
        )
    try:
        schema.CAPTION(caption, f"captions[{number - 1}]")
    except schema.SchemaError as error:
        raise _BadCaptions(str(error)) from error


def parse_txt(text: str) -> dict[str, Any]:
    """One caption a line; blank lines are skipped."""
    lines = (line.strip() for line in text.splitlines())
    return {"captions": [{"text": line} for line in lines if line]}


def parse_subtitles(text: str) -> dict[str, Any]:
    """SubRip and WebVTT: timed captions, tags removed, empty ones dropped.

    Cues may overlap, as two speakers do, but none may end before it starts.
    """
    captions = []
    for block in re.split(r"\n[ \t]*\n", re.sub(r"\r\n?", "\n", text)):
        lines = block.strip("\n").split("\n")
        timing = next((i for i, line in enumerate(lines[:2]) if "-->" in line), None)
        if timing is None:
            if block.strip() and not _VTT_BLOCK.match(lines[0]):
                raise _BadCaptions(f"no times in the block that starts {lines[0][:40]!r}")
            continue
        start_seconds, end_seconds = _cue_times(lines[timing])
        words = " ".join(html.unescape(_TAG.sub("", line)) for line in lines[timing + 1 :])
        if words := " ".join(words.split()):
            captions.append(
                {"text": words, "start_seconds": start_seconds, "end_seconds": end_seconds}
            )
    return {"captions": captions}


def _cue_times(line: str) -> tuple[float, float]:
    match = _TIMING.match(line)
    if not match:
        raise _BadCaptions(f"times not understood: {line[:60]!r}")
    start_seconds, end_seconds = (_clock_seconds(word) for word in match.groups())
    if end_seconds < start_seconds:
        raise _BadCaptions(f"a caption ends before it starts: {line[:60]!r}")
    return start_seconds, end_seconds


def _clock_seconds(word: str) -> float:
    match = _CLOCK.match(word)
    if not match:
        raise _BadCaptions(f"not a time: {word[:40]!r}")
    hours, minutes, seconds, fraction = match.groups()
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + int(fraction) / 10 ** len(fraction)


def parse_json(text: str) -> dict[str, Any]:
    """A list of captions (strings or objects), or an object with a manifest item's fields."""
    value = parse_line(text.encode())
    if isinstance(value, list):
        value = {"captions": [{"text": c} if isinstance(c, str) else c for c in value]}
    try:
        schema.check_content(value)
    except schema.SchemaError as error:
        raise _BadCaptions(str(error)) from error
    return value


def parse_align(text: str) -> dict[str, Any]:
    """GRID alignment, `start end word` in 1/25,000 s: one caption, the sentence, with its times."""
    words = _spoken_words(text)
    sentence = " ".join(word["text"] for word in words)
    times = words[0]["start_seconds"], words[-1]["end_seconds"]
    return {"captions": [{"text": sentence, "start_seconds": times[0], "end_seconds": times[1]}]}


def read_word_times(path: str) -> list[dict[str, Any]] | Reject:
    """Captions of style `word`, one for each word of a GRID alignment, with its times.

    Args:
        path: alignment file; may be remote.

    Returns:
        The captions in the order of the file, or a Reject with the reason.
    """
    try:
        with files.open_read(path) as file:
            words = _spoken_words(decode_text(file.read(MAX_FILE_BYTES))[0])
    except ValueError as error:
        return Reject(RejectCode.BAD_CAPTIONS, f"{os.path.basename(path)}: {error}")
    except OSError as error:
        return Reject(RejectCode.FILE_MISSING, f"{path}: {error.strerror or error}")
    return [word | {"style": "word"} for word in words]


def _spoken_words(text: str) -> list[dict[str, Any]]:
    """Words and their times in seconds, without silences. Raises ValueError."""
    words, starts, ends = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        start, end, word = _align_line(line, number)
        if ends and start < ends[-1]:
            raise _BadCaptions(f"line {number} starts at {start}, before the line above ends")
        starts.append(start)
        ends.append(end)
        words.append(word)
    spoken = [i for i, word in enumerate(words) if word not in _GRID_SILENCE]
    if not spoken:
        raise _BadCaptions("no words")
    return [
        {
            "text": words[i],
            "start_seconds": starts[i] / _GRID_TICKS_PER_SECOND,
            "end_seconds": ends[i] / _GRID_TICKS_PER_SECOND,
        }
        for i in spoken
    ]


def _align_line(line: str, number: int) -> tuple[int, int, str]:
    try:
        start, end, word = line.split()
        times = int(start), int(end)
    except ValueError:
        raise _BadCaptions(f"line {number} is not `start end word`: {line[:40]!r}") from None
    if times[1] < times[0]:
        raise _BadCaptions(f"line {number} ends at {times[1]}, before it starts at {times[0]}")
    return *times, word


PARSERS: dict[str, Callable[[str], dict[str, Any]]] = {
    ".srt": parse_subtitles,
    ".vtt": parse_subtitles,
    ".txt": parse_txt,
    ".json": parse_json,
    ".align": parse_align,
}
