"""JSON files of annotations, read and checked as far as all layouts agree."""

import collections
from collections.abc import Collection
from typing import Any

from beam_pipelines import files
from beam_pipelines.items import schema
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.segments.annotated_video import is_seconds, shortened
from beam_pipelines.sources.table_columns import SPLIT_CELLS
from mm_models.errors import UserError


def read_object(path: str, *, flag: str = "--annotations") -> dict[str, Any]:
    """The JSON object that a file holds; local or URL. Raises UserError for any other file."""
    try:
        value = parse_line(files.read_bytes(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{flag} {path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{flag} {path} holds {shortened(value)}; expected a JSON object")
    return value


def split_named(word: Any) -> str | Reject:
    """Our name of a split that a file calls `training`, `validation`, `testing` and the like."""
    split = SPLIT_CELLS.get(word.lower()) if isinstance(word, str) else None
    if split is None:
        detail = f"split {shortened(word)} is none of training, validation, testing"
        return Reject(RejectCode.BAD_METADATA, detail)
    return split


def duration_of(entry: dict[str, Any]) -> float | None:
    """Seconds that a video's `duration` says, where it is a number."""
    value = entry.get("duration")
    return float(value) if is_seconds(value) else None


def _is_plain(value: Any) -> bool:
    """Whether a value can be written into any JSON file, and is neither list nor object."""
    try:
        schema.text(value, "") if isinstance(value, str) else schema.number(value, "")
    except (schema.SchemaError, OverflowError):
        return isinstance(value, bool)
    return True


class Leftovers:
    """Fields that no layout knows: plain values become metadata, others are left out."""

    def __init__(self, path: str):
        self._path = path
        self._kept: collections.Counter[str] = collections.Counter()
        self._left_out: collections.Counter[str] = collections.Counter()

    def metadata(self, entry: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
        """What an entry says beside its known fields."""
        found = {}
        for name, value in entry.items():
            if name in known or value is None:
                continue
            if _is_plain(value):
                found[name] = value
                self._kept[name] += 1
            else:
                self._left_out[name] += 1
        return found

    def account_for(self, account: Account) -> None:
        """Notes what became of the fields."""
        for name, count in self._kept.items():
            detail = "kept as metadata"
            account.note(NoteCode.FIELD_TO_METADATA, f"{self._path} {name}", detail, count)
        for name, count in self._left_out.items():
            detail = "it is neither text nor a number"
            account.note(NoteCode.FIELD_LEFT_OUT, f"{self._path} {name}", detail, count)
