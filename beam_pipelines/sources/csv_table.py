"""A table with one media item, or one segment of a media file, a row → manifest items."""

import math
import posixpath
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.schema import SPLITS
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.captions.alignments import read_word_times
from beam_pipelines.sources.captions.clock import clock_seconds
from beam_pipelines.sources.captions.parsed import MAX_CAPTION_CHARACTERS
from beam_pipelines.sources.media_files import MEDIA_EXTENSIONS, MediaById, extension, unusable
from beam_pipelines.sources.table_columns import ColumnMapping, complete, language_of_column
from beam_pipelines.sources.table_rows import is_damaged, read_table
from mm_models.errors import UserError


def read_csv(
    path: str,
    mapping: ColumnMapping,
    *,
    delimiter: str = "",
    check_files: bool = True,
    media_folder: str = "",
    encoding: str = "",
    account: Account | None = None,
) -> Iterator[dict[str, Any] | tuple[str, Reject]]:
    """Yields manifest items of a table in order, and (row name, Reject) for unusable rows.

    Rows that `mapping.where` leaves out are neither; labels are those of the rows that stay. Cells
    of columns that hold nothing known go to the item's metadata.

    Args:
        path: table; local or URL. See `table_rows.read_table` for its forms.
        mapping: which column holds what.
        delimiter: character between cells; empty: what the header suggests.
        check_files: reject rows whose local media file is absent.
        media_folder: what media paths are relative to; empty: the table's folder.
        encoding: of a table that is not UTF-8; empty: detected.
        account: gets the columns and rows that were left out.

    Raises:
        UserError: when the table cannot be read, lacks a column, or no row matches.
    """
    account = Account() if account is None else account
    table = read_table(path, delimiter=delimiter, encoding=encoding)
    mapping = complete(mapping, table, path)
    account.remarks.append(f"columns: {mapping.in_words()}")
    rows = [(number, row) for number, row in table.rows if mapping.keeps(row)]
    if mapping.where and not rows:
        raise UserError(f"table {path} has no row that matches {mapping.where}")
    account.tallies |= {"rows found": len(table.rows), "rows that match": len(rows)}
    left_out = len(table.rows) - len(rows)
    account.note(NoteCode.ROW_LEFT_OUT, path, "rows that --where does not match", left_out)
    for name in table.beside:
        account.note(NoteCode.FIELD_LEFT_OUT, f"field {name}", "it stands beside the rows")
    if table.encoding != "utf-8":
        account.note(NoteCode.ENCODING_DETECTED, path, f"read as {table.encoding}")
    reader = _RowReader(mapping, rows, media_folder or files.parent(path), check_files)
    reader.tables_folder, reader.encoding = files.parent(path), table.encoding
    for number, row in rows:
        found = reader.read(row)
        yield (f"row {number}", found) if isinstance(found, Reject) else found
    reader.account_for_columns(table.columns, account)


class _RowReader:
    """Makes items of the rows of one table."""

    def __init__(
        self,
        mapping: ColumnMapping,
        rows: list[tuple[int, dict[str, str]]],
        media_folder: str,
        check_files: bool,
    ):
        self._mapping = mapping
        names = sorted({name for _, row in rows for name in self._names(row)})
        self._label_numbers = {name: number for number, name in enumerate(names)}
        self._media_folder, self._check_files = media_folder, check_files
        self._by_id = MediaById(media_folder)
        self.tables_folder, self.encoding = media_folder, "utf-8"
        self._kept: dict[str, int] = {}

    def read(self, row: dict[str, str]) -> dict[str, Any] | Reject:
        """The item of a row, or why there is none."""
        if is_damaged(row):
            return Reject(RejectCode.BAD_METADATA, "bytes that are not of the table's encoding")
        span = self._span(row)
        if isinstance(span, Reject):
            return span
        named = self._media(row[self._mapping.media].strip(), span)
        if isinstance(named, Reject):
            return named
        media, span = named
        reject = unusable(self._media_folder, media, check_files=self._check_files)
        reject = reject or _row_reject(row, self._mapping)
        return reject or self._with_words(self._item(row, media, span), row)

    def account_for_columns(self, columns: list[str], account: Account) -> None:
        """Notes what became of columns that hold nothing known."""
        for name, count in self._kept.items():
            account.note(NoteCode.COLUMN_TO_METADATA, f"column {name}", "kept as metadata", count)
        named = {*self._mapping.columns(), *self._kept}
        for place, name in enumerate(columns, start=1):
            if not name:
                account.note(NoteCode.FIELD_LEFT_OUT, f"column {place}", "it has no name")
            elif name not in named:
                account.note(NoteCode.FIELD_LEFT_OUT, f"column {name}", "its cells are empty")

    def _names(self, row: dict[str, str]) -> list[str]:
        """Classes of a row."""
        cell = row[self._mapping.label].strip() if self._mapping.label else ""
        if not self._mapping.label_separator:
            return [cell] if cell else []
        names = (name.strip() for name in cell.split(self._mapping.label_separator))
        return list(dict.fromkeys(name for name in names if name))

    def _span(self, row: dict[str, str]) -> tuple[float, float] | None | Reject:
        if not self._mapping.start:
            return None
        cells = [row[name].strip() for name in (self._mapping.start, self._mapping.end)]
        if not any(cells):
            return None
        try:
            start, end = map(_seconds, cells)
        except ValueError:
            detail = f"the segment's times are not both seconds: {cells[0]!r}, {cells[1]!r}"
            return Reject(RejectCode.BAD_METADATA, detail)
        if not 0 <= start < end < math.inf:
            detail = f"the segment is empty or reversed: {cells[0]} to {cells[1]} s"
            return Reject(RejectCode.BAD_METADATA, detail)
        return start, end

    def _media(
        self, cell: str, span: tuple[float, float] | None
    ) -> tuple[str, tuple[float, float] | None] | Reject:
        """(path, span) of the file that a cell names by path or by id."""
        is_path = extension(cell) in MEDIA_EXTENSIONS or posixpath.dirname(cell)
        if not cell or is_path or not cell.isprintable():
            return cell, span
        found = self._by_id.find(cell, span)
        if found is None and self._check_files and files.is_remote(self._media_folder):
            return Reject(RejectCode.FILE_MISSING, f"no media file is named after {cell}")
        if found is None:
            return cell, span
        path, is_cut = found
        return path, None if is_cut else span

    def _item(
        self, row: dict[str, str], media: str, span: tuple[float, float] | None
    ) -> dict[str, Any]:
        mapping = self._mapping
        times = dict(zip(("start_seconds", "end_seconds"), span, strict=True)) if span else {}
        name = media + (f":{span[0]:.12g}-{span[1]:.12g}" if span else "")
        item: dict[str, Any] = {"id": row[mapping.id] if mapping.id else name, "media": media}
        item |= times
        texts = ((column, " ".join(row[column].split())) for column in mapping.captions or ())
        item["captions"] = [
            {"text": text, **self._language(row, column), **times} for column, text in texts if text
        ]
        if names := self._names(row):
            index = row[mapping.label_index].strip() if mapping.label_index else ""
            item["labels"] = [
                {"index": int(index) if index else self._label_numbers[each], "text": each}
                for each in names
            ]
        if mapping.split:
            item["split"] = mapping.split_of(row)
        if metadata := self._metadata(row):
            item["metadata"] = metadata
        return item

    def _language(self, row: dict[str, str], column: str) -> dict[str, str]:
        if self._mapping.language:
            return {"language": row[self._mapping.language]}
        language = language_of_column(column)
        return {"language": language} if language else {}

    def _metadata(self, row: dict[str, str]) -> dict[str, str]:
        named = set(self._mapping.columns())
        rest = {name: cell for name, cell in row.items() if name and name not in named and cell}
        for name in rest:
            self._kept[name] = self._kept.get(name, 0) + 1
        return rest | ({} if self.encoding == "utf-8" else {"caption_encoding": self.encoding})

    def _with_words(self, item: dict[str, Any], row: dict[str, str]) -> dict[str, Any] | Reject:
        path = row[self._mapping.word_times].strip() if self._mapping.word_times else ""
        if not path:
            return item
        words = read_word_times(files.join(self.tables_folder, path))
        if isinstance(words, Reject):
            return words
        return item | {"captions": item["captions"] + words}


def _row_reject(row: dict[str, str], mapping: ColumnMapping) -> Reject | None:
    if mapping.split and mapping.split_of(row) not in SPLITS:
        allowed = ", ".join(mapping.split_names or SPLITS)
        return Reject(RejectCode.BAD_METADATA, f"split {row[mapping.split]!r} is not {allowed}")
    if any(len(row[column]) > MAX_CAPTION_CHARACTERS for column in mapping.captions or ()):
        return Reject(RejectCode.BAD_CAPTIONS, f"more than {MAX_CAPTION_CHARACTERS} characters")
    index = row[mapping.label_index].strip() if mapping.label_index else ""
    if index and not (index.isascii() and index.isdecimal()):
        return Reject(RejectCode.BAD_METADATA, f"class number {index!r} is no whole number")
    return None


def _seconds(cell: str) -> float:
    """Seconds of a number or a clock. Raises ValueError."""
    return clock_seconds(cell) if ":" in cell else float(cell)
