"""What an adapter says beside its items, so that whatever it saw is accounted for."""

import dataclasses
import enum
from collections.abc import Iterable
from typing import Any

from beam_pipelines.rejects import Reject


class NoteCode(enum.StrEnum):
    """What was left out or changed without the loss of an item; reports use the values."""

    FILE_NOT_READ = "file_not_read"
    CAPTIONS_WITHOUT_MEDIA = "captions_without_media"
    CAPTIONS_REFUSED = "captions_refused"
    CUE_LEFT_OUT = "cue_left_out"
    CUE_EMPTY = "cue_empty"
    CAPTION_REPEATED = "caption_repeated"
    MARKUP_REMOVED = "markup_removed"
    ENCODING_DETECTED = "encoding_detected"
    FIELD_TO_METADATA = "field_to_metadata"
    FIELD_LEFT_OUT = "field_left_out"
    COLUMN_TO_METADATA = "column_to_metadata"
    ROW_LEFT_OUT = "row_left_out"
    ITEM_WITHOUT_CAPTIONS = "item_without_captions"


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that was left out or changed.

    Attributes:
        code: what happened.
        name: file, row or column it happened to.
        detail: one sentence for a person.
        count: how many of them.
    """

    code: NoteCode
    name: str
    detail: str
    count: int = 1


class Account:
    """All that an adapter saw beside its items and rejects.

    Attributes:
        notes: what was left out or changed, in order.
        tallies: numbers in which all that was found adds up, by name.
        remarks: how the source was understood, such as which column holds what.
    """

    def __init__(self):
        self.notes: list[Note] = []
        self.tallies: dict[str, int] = {}
        self.remarks: list[str] = []

    def note(self, code: NoteCode, name: str, detail: str, count: int = 1) -> None:
        """Adds a note, unless there is nothing to count."""
        if count:
            self.notes.append(Note(code, name, detail, count))

    def add(self, notes: Iterable[Note]) -> None:
        """Adds notes of a file."""
        self.notes += notes

    def count(self, code: NoteCode) -> int:
        """How many of a kind there are."""
        return sum(note.count for note in self.notes if note.code == code)

    def lines(self, examples: int = 5) -> list[str]:
        """Lines for a person: each kind with its count and the first of its notes."""
        lines = []
        for code in NoteCode:
            notes = [note for note in self.notes if note.code == code]
            if notes:
                lines.append(f"{code}  {self.count(code)}")
                lines += [f"  {_text(n.name)}: {_text(n.detail)}" for n in notes[:examples]]
                lines += [f"  and {len(notes) - examples} more"] if len(notes) > examples else []
        return lines

    def to_json(self) -> list[dict[str, Any]]:
        """The notes as JSON objects."""
        return [
            {
                "code": str(note.code),
                "name": _text(note.name),
                "detail": _text(note.detail),
                "count": note.count,
            }
            for note in self.notes
        ]


def _text(name: str) -> str:
    """The name as it can be printed: those of files are any bytes."""
    return name.encode(errors="backslashreplace").decode()


Found = dict[str, Any] | tuple[str, Reject]
"""What adapters yield: an item, or the name of something and why it is none."""
