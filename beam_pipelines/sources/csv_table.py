"""A CSV table with one media item a row → manifest items."""

import csv
import dataclasses
import fnmatch
import io
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.schema import SPLITS
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.captions import MAX_CAPTION_CHARACTERS, decode_text, read_word_times
from beam_pipelines.sources.media_files import unusable
from mm_models.errors import UserError

_MAX_FIELD_CHARACTERS = 1 << 20


@dataclasses.dataclass(frozen=True)
class ColumnMapping:
    """Which column holds what.

    Attributes:
        media: path of the media file, relative to the table's folder.
        id: unique id; empty: the media path.
        captions: columns with one caption each; empty cells are skipped.
        label: class name; indices follow the sorted names of the table, or `label_index`.
        split: train, val or test, or what `split_names` turns into one of them.
        language: language of the row's captions.
        word_times: path of a GRID alignment (`start end word` in 1/25,000 s), relative to the
            table's folder; its words become timed captions of style `word`. Empty cells have none.
        split_names: cell of the split column → split; empty takes the cells as they are.
        where: column → shell-style pattern; rows that do not match all of them are left out.
        label_index: number of the class whose name `label` holds, counted from 0.
    """

    media: str = "file"
    id: str = ""
    captions: tuple[str, ...] = ("caption",)
    label: str = ""
    split: str = ""
    language: str = ""
    word_times: str = ""
    split_names: dict[str, str] = dataclasses.field(default_factory=dict)
    where: dict[str, str] = dataclasses.field(default_factory=dict)
    label_index: str = ""

    def columns(self) -> list[str]:
        """All columns that are named."""
        named = (self.media, self.id, *self.captions, self.label, self.split, self.language)
        named = (*named, self.word_times, self.label_index, *self.where)
        return [name for name in named if name]

    def keeps(self, row: dict[str, str]) -> bool:
        """Whether a row matches every pattern."""
        return all(fnmatch.fnmatchcase(row[name], want) for name, want in self.where.items())

    def split_of(self, row: dict[str, str]) -> str:
        """The split a row names; empty where the mapping does not know its cell."""
        cell = row[self.split].strip() if self.split else ""
        return self.split_names.get(cell, "") if self.split_names else cell


def read_csv(
    path: str, mapping: ColumnMapping, *, delimiter: str = ",", check_files: bool = True
) -> Iterator[dict[str, Any] | tuple[str, Reject]]:
    """Yields manifest items of a table in order, and (row name, Reject) for unusable rows.

    Rows that `mapping.where` leaves out are neither; labels are those of the rows that stay.

    Args:
        path: table with a header row; local or URL. UTF-8, UTF-16 with a mark, or Latin-1.
        mapping: which column holds what.
        delimiter: character between cells.
        check_files: reject rows whose local media file is absent.

    Raises:
        UserError: when the table cannot be read, lacks a column, or no row matches.
    """
    encoding, rows = _rows(path, mapping, delimiter)
    rows = [(number, row) for number, row in enumerate(rows, start=2) if mapping.keeps(row)]
    if mapping.where and not rows:
        raise UserError(f"table {path} has no row that matches {mapping.where}")
    cells = (row[mapping.label] for _, row in rows if mapping.label)
    labels = sorted({cell for cell in cells if cell})
    folder = files.parent(path)
    for number, row in rows:
        name = f"row {number}"
        reject = _row_reject(row, mapping, folder, check_files)
        item = reject or _with_words(_item(row, mapping, labels, encoding), row, mapping, folder)
        yield (name, item) if isinstance(item, Reject) else item


def _rows(path: str, mapping: ColumnMapping, delimiter: str) -> tuple[str, list[dict[str, str]]]:
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    try:
        text, encoding = decode_text(files.read_bytes(path))
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restval="")
        rows = [dict(row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"table {path} cannot be read: {error}; check --table") from error
    for column in mapping.columns():
        if column not in (reader.fieldnames or ()):
            known = ", ".join(reader.fieldnames or ()) or "none"
            raise UserError(f"table {path} has no column {column!r}; its columns are {known}")
    return encoding, rows


def _row_reject(
    row: dict[str, str], mapping: ColumnMapping, folder: str, check_files: bool
) -> Reject | None:
    reject = unusable(folder, row[mapping.media].strip(), check_files=check_files)
    if reject is not None:
        return reject
    if mapping.split and mapping.split_of(row) not in SPLITS:
        allowed = ", ".join(mapping.split_names or SPLITS)
        return Reject(RejectCode.BAD_METADATA, f"split {row[mapping.split]!r} is not {allowed}")
    if any(len(row[column]) > MAX_CAPTION_CHARACTERS for column in mapping.captions):
        return Reject(RejectCode.BAD_CAPTIONS, f"more than {MAX_CAPTION_CHARACTERS} characters")
    index = row[mapping.label_index].strip() if mapping.label_index else ""
    if index and not (index.isascii() and index.isdecimal()):
        return Reject(RejectCode.BAD_METADATA, f"class number {index!r} is no whole number")
    return None


def _with_words(
    item: dict[str, Any], row: dict[str, str], mapping: ColumnMapping, folder: str
) -> dict[str, Any] | Reject:
    path = row[mapping.word_times].strip() if mapping.word_times else ""
    if not path:
        return item
    words = read_word_times(files.join(folder, path))
    if isinstance(words, Reject):
        return words
    return item | {"captions": item["captions"] + words}


def _item(
    row: dict[str, str], mapping: ColumnMapping, labels: list[str], encoding: str
) -> dict[str, Any]:
    media = row[mapping.media].strip()
    item: dict[str, Any] = {"id": row[mapping.id] if mapping.id else media, "media": media}
    language = {"language": row[mapping.language]} if mapping.language else {}
    texts = (row[column].strip() for column in mapping.captions)
    item["captions"] = [{"text": text, **language} for text in texts if text]
    if mapping.label and row[mapping.label]:
        text = row[mapping.label]
        index = row[mapping.label_index].strip() if mapping.label_index else ""
        item["labels"] = [{"index": int(index) if index else labels.index(text), "text": text}]
    if mapping.split:
        item["split"] = mapping.split_of(row)
    if encoding != "utf-8":
        item["metadata"] = {"caption_encoding": encoding}
    return item
