"""Captions that roll: each cue shows again what the cue before showed, and adds to it."""

import dataclasses
from typing import Any

from beam_pipelines.sources.captions.parsed import timed

_FLASH_SECONDS = 0.05
_GAP_SECONDS = 0.1
_FEWEST_ROLLS = 2


@dataclasses.dataclass(frozen=True)
class Cue:
    """A cue as it is shown.

    Attributes:
        start_seconds, end_seconds: when.
        lines: its lines without markup; none is empty.
        has_word_times: whether times stand between its words.
    """

    start_seconds: float
    end_seconds: float
    lines: tuple[str, ...]
    has_word_times: bool = False

    def caption(self) -> dict[str, Any]:
        """The cue as one caption."""
        return timed(" ".join(self.lines), self.start_seconds, self.end_seconds)


def captions_of(cues: list[Cue]) -> tuple[list[dict[str, Any]], int]:
    """(captions, lines that were left out as repetitions) of a file's cues.

    Only a file that rolls throughout is changed; two people who say the same stay.
    """
    if not _rolls(cues):
        return [cue.caption() for cue in cues], 0
    captions: list[dict[str, Any]] = []
    repeated = 0
    shown: tuple[str, ...] = ()
    for cue in cues:
        common = _common(shown, cue.lines)
        repeated += common
        grown = cue.lines[common - 1][len(shown[-1]) :].strip() if common else ""
        if grown and captions:
            captions[-1]["text"] += f" {grown}"
            captions[-1]["end_seconds"] = cue.end_seconds
        if fresh := cue.lines[common:]:
            captions.append(timed(" ".join(fresh), cue.start_seconds, cue.end_seconds))
        shown = cue.lines
    return captions, repeated


def _common(shown: tuple[str, ...], lines: tuple[str, ...]) -> int:
    """How many first lines of a cue were the last lines before it; the last may have grown."""
    for count in range(min(len(shown), len(lines)), 0, -1):
        whole = shown[-count:-1] == lines[: count - 1]
        last = lines[count - 1]
        if whole and (last == shown[-1] or last.startswith(shown[-1] + " ")):
            return count
    return 0


def _rolls(cues: list[Cue]) -> bool:
    """Whether at least half of the cues take up the one before, in a way that only rolling does."""
    pairs = list(zip(cues, cues[1:], strict=False))
    taken_up = [pair for pair in pairs if _takes_up(*pair)]
    if not taken_up or 2 * len(taken_up) < len(pairs):
        return False
    flashes = any(
        after.end_seconds - after.start_seconds <= _FLASH_SECONDS for _, after in taken_up
    )
    adds = sum(before.lines != after.lines for before, after in taken_up)
    has_word_times = any(cue.has_word_times for cue in cues)
    return adds >= (1 if flashes or has_word_times else _FEWEST_ROLLS)


def _takes_up(before: Cue, after: Cue) -> bool:
    follows = after.start_seconds <= before.end_seconds + _GAP_SECONDS
    return follows and _common(before.lines, after.lines) > 0
