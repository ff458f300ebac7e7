"""GRID word alignments: `start end word` in 1/25,000 s."""

import os
from typing import Any

from beam_pipelines import files
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.captions.encodings import decode_text
from beam_pipelines.sources.captions.parsed import BadCaptions, Parsed
from beam_pipelines.sources.captions.plain_text import WORD_STYLE

_TICKS_PER_SECOND = 25_000
_SILENCE = ("sil", "sp")
_MAX_FILE_BYTES = 1 << 20


def parse_align(text: str) -> Parsed:
    """One caption, the sentence, with its times; a damaged line spoils it. Raises BadCaptions."""
    words = _spoken_words(text)
    sentence = " ".join(word["text"] for word in words)
    times = words[0]["start_seconds"], words[-1]["end_seconds"]
    caption = {"text": sentence, "start_seconds": times[0], "end_seconds": times[1]}
    return Parsed({"captions": [caption]})


def read_word_times(path: str) -> list[dict[str, Any]] | Reject:
    """Captions of style `word`, one for each word of a GRID alignment, with its times.

    Args:
        path: alignment file; may be remote.

    Returns:
        The captions in the order of the file, or a Reject with the reason.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        with files.open_read(path) as file:
            words = _spoken_words(decode_text(file.read(_MAX_FILE_BYTES))[0])
    except ValueError as error:
        return Reject(RejectCode.BAD_CAPTIONS, f"{os.path.basename(path)}: {error}")
    except FileNotFoundError as error:
        return Reject(RejectCode.FILE_MISSING, f"{path}: {error.strerror or error}")
    return [word | {"style": WORD_STYLE} for word in words]


def _spoken_words(text: str) -> list[dict[str, Any]]:
    """Words and their times in seconds, without silences. Raises ValueError."""
    words, starts, ends = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        start, end, word = _align_line(line, number)
        if ends and start < ends[-1]:
            raise BadCaptions(f"line {number} starts at {start}, before the line above ends")
        starts.append(start)
        ends.append(end)
        words.append(word)
    spoken = [i for i, word in enumerate(words) if word not in _SILENCE]
    if not spoken:
        raise BadCaptions("no words")
    return [
        {
            "text": words[i],
            "start_seconds": starts[i] / _TICKS_PER_SECOND,
            "end_seconds": ends[i] / _TICKS_PER_SECOND,
        }
        for i in spoken
    ]


def _align_line(line: str, number: int) -> tuple[int, int, str]:
    try:
        start, end, word = line.split()
        times = int(start), int(end)
    except ValueError:
        raise BadCaptions(f"line {number} is not `start end word`: {line[:40]!r}") from None
    if times[1] < times[0]:
        raise BadCaptions(f"line {number} ends at {times[1]}, before it starts at {times[0]}")
    return *times, word
