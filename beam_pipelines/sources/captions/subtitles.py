"""SubRip and WebVTT: timed captions, whatever stands between the cues.

A cue runs from its times to the next ones. Blank lines are neither needed between cues nor
forbidden inside one. A cue that is damaged costs itself.
"""

import re

from beam_pipelines.sources.account import NoteCode
from beam_pipelines.sources.captions import rolling
from beam_pipelines.sources.captions.clock import CLOCK, clock_seconds
from beam_pipelines.sources.captions.markup import WORD_TIME, plain_text
from beam_pipelines.sources.captions.parsed import BadCaptions, Parsed

_LINE_END = re.compile(r"\r\n?")
_TIMES = re.compile(rf"\s*({CLOCK})\s*-->\s*({CLOCK})(?:\s|$)")
_SBV_CLOCK = CLOCK.replace("[.,:]", "[.:]")
_SBV_TIMES = re.compile(rf"^({_SBV_CLOCK}),({_SBV_CLOCK})[ \t]*$", re.MULTILINE)
_TWO_WORDS = re.compile(r"\s*(\S+)\s*-->\s*(\S+)")
_COMMENT = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")
_HEADER = re.compile(r"WEBVTT(\s|$)")
_LANGUAGE = re.compile(r"Language:\s*([A-Za-z]{2,3}(?:[-_]\w+)*)\s*$")


def parse_subtitles(text: str) -> Parsed:
    """Timed captions; tags are removed, entities resolved, lines joined by spaces.

    Raises:
        BadCaptions: there is text and no times.
    """
    lines = _LINE_END.sub("\n", text).split("\n")
    return _Reader(lines).read()


def parse_sbv(text: str) -> Parsed:
    """SubViewer as YouTube writes it: `0:00:01.000,0:00:02.000` above each text.

    Raises:
        BadCaptions: there is text and no times.
    """
    return parse_subtitles(_SBV_TIMES.sub(r"\1 --> \2", _LINE_END.sub("\n", text)))


class _Reader:
    """Reads the lines of one file."""

    def __init__(self, lines: list[str]):
        self._lines = lines
        self._is_vtt = bool(_HEADER.match(lines[0]))
        self._times = [i for i, line in enumerate(lines) if self._is_times(i, line)]
        first = self._times[0] - 1 if self._times else -1
        self._is_numbered = first >= 0 and lines[first].strip().isdecimal()
        self._parsed = Parsed({})
        self._num_tags = self._num_comments = self._num_empty = 0
        self._cues: list[rolling.Cue] = []

    def read(self) -> Parsed:
        """All cues in the order of the file."""
        heads = [self._head(number) for number in range(len(self._times))]
        self._read_start(heads[0] if heads else len(self._lines))
        for number, start in enumerate(self._times):
            end = heads[number + 1] if number + 1 < len(heads) else len(self._lines)
            self._read_cue(number, start, end)
        captions, repeated = rolling.captions_of(self._cues)
        self._parsed.content["captions"] = captions
        note = self._parsed.note
        note(NoteCode.CAPTION_REPEATED, "lines shown again, as rolling captions do", repeated)
        note(NoteCode.MARKUP_REMOVED, "tags", self._num_tags)
        note(NoteCode.MARKUP_REMOVED, "NOTE, STYLE or REGION blocks", self._num_comments)
        note(NoteCode.CUE_EMPTY, "cues without text", self._num_empty)
        return self._parsed

    def _is_times(self, index: int, line: str) -> bool:
        if "-->" not in line:
            return False
        before = self._lines[index - 1].strip() if index else ""
        return bool(self._is_vtt or _TIMES.match(line) or not before or before.isdecimal())

    def _head(self, number: int) -> int:
        """First line of a cue: its number or name, else its times."""
        index = self._times[number]
        floor = self._times[number - 1] if number else -1
        if index - 1 <= floor or not self._lines[index - 1].strip():
            return index
        is_number = self._is_numbered and self._lines[index - 1].strip().isdecimal()
        stands_alone = index < 2 or not self._lines[index - 2].strip() or index - 2 <= floor
        is_name = self._is_vtt and stands_alone
        return index - 1 if is_number or is_name else index

    def _read_start(self, end: int) -> None:
        """What stands before the first cue."""
        paragraphs = _paragraphs(self._lines[:end])
        if self._is_vtt and paragraphs:
            for line in paragraphs.pop(0)[1]:
                if match := _LANGUAGE.match(line):
                    self._parsed.language = match.group(1).replace("_", "-")
        stray = [(at, lines) for at, lines in paragraphs if not self._is_comment(lines)]
        if stray and not self._times:
            raise BadCaptions(f"no times in the block that starts {stray[0][1][0][:40]!r}")
        for at, lines in stray:
            self._left_out(f"line {at + 1}", f"no times before {lines[0][:40]!r}")

    def _is_comment(self, lines: list[str]) -> bool:
        is_comment = self._is_vtt and bool(_COMMENT.match(lines[0]))
        self._num_comments += is_comment
        return is_comment

    def _read_cue(self, number: int, start: int, end: int) -> None:
        place = f"cue {number + 1}, line {start + 1}"
        kept: list[str] = []
        expected = self._number_before(start)
        for paragraph, (at, lines) in enumerate(_paragraphs(self._lines[start + 1 : end])):
            has_blank_before = paragraph > 0 or at > 0
            if has_blank_before and self._is_comment(lines):
                continue
            if has_blank_before and expected and lines[0].strip() == str(expected + 1):
                expected += 1
                self._left_out(f"cue {lines[0].strip()}, line {start + at + 2}", "it has no times")
                continue
            kept += lines
        try:
            start_seconds, end_seconds = cue_times(self._lines[start])
        except BadCaptions as error:
            self._left_out(place, str(error))
            return
        self._add(start_seconds, end_seconds, kept)

    def _number_before(self, start: int) -> int:
        """The number above a cue's times; 0 without one."""
        number = self._lines[start - 1].strip() if self._is_numbered and start else ""
        return int(number) if number.isdecimal() and len(number) < 10 else 0

    def _add(self, start_seconds: float, end_seconds: float, lines: list[str]) -> None:
        texts = []
        for line in lines:
            text, removed = plain_text(line)
            self._num_tags += removed
            if text:
                texts.append(text)
        if not texts:
            self._num_empty += 1
            return
        has_word_times = any(WORD_TIME.search(line) for line in lines)
        self._cues.append(rolling.Cue(start_seconds, end_seconds, tuple(texts), has_word_times))

    def _left_out(self, place: str, reason: str) -> None:
        self._parsed.note(NoteCode.CUE_LEFT_OUT, f"{place}: {reason}")


def _paragraphs(lines: list[str]) -> list[tuple[int, list[str]]]:
    """(index of the first line, lines) of every run of lines that are not blank."""
    found: list[tuple[int, list[str]]] = []
    is_open = False
    for index, line in enumerate(lines):
        if not line.strip():
            is_open = False
        elif is_open:
            found[-1][1].append(line)
        else:
            found.append((index, [line]))
            is_open = True
    return found


def cue_times(line: str) -> tuple[float, float]:
    """(start, end) in seconds of a cue's line of times. Raises BadCaptions."""
    match = _TIMES.match(line) or _TWO_WORDS.match(line)
    if not match:
        raise BadCaptions(f"times not understood: {line[:60]!r}")
    start_seconds, end_seconds = (clock_seconds(word) for word in match.groups())
    if end_seconds < start_seconds:
        raise BadCaptions(f"it ends before it starts: {line[:60]!r}")
    return start_seconds, end_seconds
