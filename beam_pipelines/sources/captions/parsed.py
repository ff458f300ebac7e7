"""What parsers of caption files share."""

import dataclasses
from typing import Any

from beam_pipelines.sources.account import Note, NoteCode

MAX_CAPTION_CHARACTERS = 10_000


class BadCaptions(ValueError):
    """The file cannot be used as a whole; the text says why."""


@dataclasses.dataclass
class Parsed:
    """What a parser found in a caption file.

    Attributes:
        content: manifest fields, such as `captions`.
        notes: what was left out; the reader of the file fills in its name.
        language: BCP 47 tag that the file names for all of its captions, or empty.
    """

    content: dict[str, Any]
    notes: list[Note] = dataclasses.field(default_factory=list)
    language: str = ""

    def note(self, code: NoteCode, detail: str, count: int = 1) -> None:
        """Adds a note, unless there is nothing to count."""
        if count:
            self.notes.append(Note(code, "", detail, count))


def timed(text: str, start_seconds: float, end_seconds: float) -> dict[str, Any]:
    """A caption with times, as a manifest holds it."""
    return {"text": text, "start_seconds": start_seconds, "end_seconds": end_seconds}
