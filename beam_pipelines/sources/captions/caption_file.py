"""A caption file of any known kind → manifest fields, and notes on what was left out."""

import dataclasses
import os
import re
from collections.abc import Callable
from typing import Any

from beam_pipelines import files
from beam_pipelines.items import schema
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Note, NoteCode
from beam_pipelines.sources.captions.alignments import parse_align
from beam_pipelines.sources.captions.encodings import DAMAGED, decode_text
from beam_pipelines.sources.captions.json_captions import parse_json
from beam_pipelines.sources.captions.parsed import MAX_CAPTION_CHARACTERS, BadCaptions, Parsed
from beam_pipelines.sources.captions.plain_text import parse_txt
from beam_pipelines.sources.captions.substation import parse_substation
from beam_pipelines.sources.captions.subtitles import parse_sbv, parse_subtitles
from beam_pipelines.sources.captions.timed_rows import parse_timed_rows

MAX_FILE_BYTES = 16 << 20
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")


@dataclasses.dataclass(frozen=True)
class CaptionFile:
    """What a caption file holds.

    Attributes:
        content: manifest fields, such as `captions`.
        encoding: `utf-8`, or what the file was read as instead.
        notes: what was left out of it.
    """

    content: dict[str, Any]
    encoding: str
    notes: tuple[Note, ...] = ()


def read_captions(path: str, *, encoding: str = "", language: str = "") -> CaptionFile | Reject:
    """Reads a caption file of any known kind; the extension decides which.

    Args:
        path: a file whose extension is in `PARSERS`; may be remote.
        encoding: of a file that is not UTF-8; empty: detected.
        language: of captions that name none themselves; empty: what the file says.

    Returns:
        Its content, or a Reject with the reason.

    Raises:
        OSError: it is there and cannot be read, which says nothing about its content.
    """
    if not files.is_remote(path) and not os.path.isfile(path):
        fault = "is not a regular file" if os.path.exists(path) else "is missing"
        return Reject(RejectCode.FILE_MISSING, f"{path} {fault}")
    parser = PARSERS[os.path.splitext(path)[1].lower()]
    name = os.path.basename(path)
    try:
        with files.open_read(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise BadCaptions(f"more than {MAX_FILE_BYTES} bytes")
        text, found = decode_text(content, encoding)
        parsed = parser(text)
    except (ValueError, RecursionError) as error:
        return Reject(RejectCode.BAD_CAPTIONS, f"{name}: {error}")
    except FileNotFoundError as error:
        return Reject(RejectCode.FILE_MISSING, f"{path}: {error.strerror or error}")
    finish_captions(parsed, language)
    if found != "utf-8":
        parsed.note(NoteCode.ENCODING_DETECTED, f"read as {found}")
    notes = tuple(dataclasses.replace(note, name=name) for note in parsed.notes)
    return CaptionFile(parsed.content, found, notes)


def finish_captions(parsed: Parsed, language: str = "") -> None:
    """Leaves out captions that cannot be used, and gives the others their language."""
    if "captions" not in parsed.content:
        return
    sound = []
    for number, caption in enumerate(parsed.content["captions"], start=1):
        if fault := caption_fault(caption):
            parsed.note(NoteCode.CUE_LEFT_OUT, f"caption {number}: {fault}")
            continue
        tag = language or parsed.language
        sound.append(caption if not tag else {"language": tag} | caption)
    parsed.content["captions"] = sound


def caption_fault(caption: dict[str, Any]) -> str:
    """Why a caption cannot be used; empty when it can."""
    text = caption["text"]
    if len(text) > MAX_CAPTION_CHARACTERS:
        return f"it has {len(text)} characters, more than {MAX_CAPTION_CHARACTERS}"
    if DAMAGED in text:
        return f"damaged bytes in {text[:40]!r}"
    if _CONTROL.search(text):
        return f"a control character in {text[:40]!r}"
    try:
        schema.CAPTION(caption, "caption")
    except schema.SchemaError as error:
        return str(error)
    return ""


PARSERS: dict[str, Callable[[str], Parsed]] = {
    ".srt": parse_subtitles,
    ".vtt": parse_subtitles,
    ".sbv": parse_sbv,
    ".ass": parse_substation,
    ".ssa": parse_substation,
    ".txt": parse_txt,
    ".json": parse_json,
    ".json3": parse_json,
    ".align": parse_align,
    ".csv": parse_timed_rows,
    ".tsv": parse_timed_rows,
}
"""Parser of each kind of caption file, by extension."""
