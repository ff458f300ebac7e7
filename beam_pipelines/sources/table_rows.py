"""Tables as data sets publish them → rows: CSV, headers in comments, JSON by id, JSON Lines."""

import csv
import dataclasses
import io
import json
import re
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.sources.captions.encodings import DAMAGED, decode_text
from mm_models.errors import UserError

_MAX_FIELD_CHARACTERS = 1 << 20
_DELIMITERS = ",\t;|"
BEYOND_HEADER = "cells beyond the header"
_ID = "video_id"
_WRAPPERS = ("database", "data")
_LISTS_OF_SPANS = ("annotations", "segments", "captions")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes:
        columns: names of the columns; of unnamed ones, empty.
        rows: cell by column, and the line or entry number for messages.
        encoding: `utf-8`, or what the file was read as.
        beside: fields of a JSON file that stand beside its rows.
    """

    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    encoding: str
    beside: tuple[str, ...] = ()


def read_table(
    path: str,
    *,
    delimiter: str = "",
    encoding: str = "",
    lists_as_rows: bool = True,
    flag: str = "--table",
) -> Table:
    """Reads a table.

    A header may stand in a comment (`# YTID, start_seconds, ...`). JSON is an object by video id, a
    list of objects, or lines of objects; segments and captions become rows of their own.

    Args:
        path: local or URL.
        delimiter: character between cells; empty: what the header suggests.
        encoding: of a file that is not UTF-8; empty: detected.
        lists_as_rows: whether an object's lists of segments become rows; else they are cells, which
            hold their JSON.
        flag: that names the file, for messages.

    Raises:
        UserError: when it cannot be read as a table.
    """
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    beside: tuple[str, ...] = ()
    try:
        text, found = decode_text(files.read_bytes(path), encoding)
        if path.lower().endswith((".json", ".jsonl", ".ndjson")):
            value, beside = _unwrapped(_json_value(text))
            columns, rows = _json_rows(value, lists_as_rows)
        else:
            columns, rows = _csv_rows(text, delimiter)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise UserError(f"table {path} cannot be read: {error}; check {flag}") from error
    repeated = sorted({name for name in columns if name and columns.count(name) > 1})
    if repeated:
        raise UserError(f"table {path} has several columns {repeated[0]!r}; rename all but one")
    return Table(columns, rows, found, beside)


def is_damaged(row: dict[str, str]) -> bool:
    """Whether bytes of the row could not be read as text."""
    return any(DAMAGED in cell for cell in row.values())


def _csv_rows(text: str, delimiter: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    lines = re.sub(r"\r\n?", "\n", text).split("\n")
    start = next((i for i, line in enumerate(lines) if line.strip()), 0)
    after = start
    while after < len(lines) and lines[after].lstrip().startswith("#"):
        after += 1
    comments = [line.lstrip().lstrip("#").strip() for line in lines[start:after]]
    header = comments[-1] if comments and _is_header(comments[-1], lines, after) else None
    if header is None:
        header, after = lines[after] if after < len(lines) else "", after + 1
    delimiter = delimiter or max(_DELIMITERS, key=header.count)
    columns = [
        name.strip()
        for name in next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
    ]
    rows = []
    body = io.StringIO("\n".join(lines[after:]), newline="")
    reader = csv.reader(body, delimiter=delimiter, skipinitialspace=True, strict=False)
    for number, cells in enumerate((cells for cells in reader if cells), start=after + 1):
        row = dict(zip(columns, cells, strict=False))
        row = dict.fromkeys(columns, "") | row
        if extra := cells[len(columns) :]:
            row[BEYOND_HEADER] = json.dumps(extra, ensure_ascii=False)
        rows.append((number, row))
    return columns, rows


def _is_header(comment: str, lines: list[str], after: int) -> bool:
    """Whether the comment above the rows names as many columns as they have."""
    delimiter = max(_DELIMITERS, key=comment.count)
    if not comment.count(delimiter) or after >= len(lines):
        return False
    widths = [
        len(next(csv.reader([t], delimiter=delimiter, skipinitialspace=True), []))
        for t in (comment, lines[after])
    ]
    return widths[0] == widths[1]


def _unwrapped(value: Any) -> tuple[Any, tuple[str, ...]]:
    """(the rows, names of what stands beside them) of a JSON file."""
    name = next((n for n in _WRAPPERS if isinstance(value, dict) and n in value), None)
    if name is None:
        return value, ()
    return value[name], tuple(other for other in value if other != name)


def _json_rows(
    value: Any, lists_as_rows: bool
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    objects = _objects(value, lists_as_rows)
    columns = list(dict.fromkeys(name for each in objects for name in each))
    rows = [
        (number, {name: _cell(each.get(name)) for name in columns})
        for number, each in enumerate(objects, start=1)
    ]
    return columns, rows


def _json_value(text: str) -> Any:
    try:
        return parse_line(text.encode())
    except ValueError:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) < 2 or not lines[0].lstrip().startswith("{"):
            raise
        return [parse_line(line.encode()) for line in lines]


def _objects(value: Any, lists_as_rows: bool) -> list[dict[str, Any]]:
    """One object a row."""
    if isinstance(value, list):
        entries = [("", each) for each in value]
    elif isinstance(value, dict):
        entries = list(value.items())
    else:
        raise ValueError("neither a list nor an object of rows")
    rows = []
    for name, entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f"{str(entry)[:40]!r} is no object with the cells of a row")
        about = {_ID: name} if name else {}
        rows += [about | row for row in (_rows_of_entry(dict(entry)) if lists_as_rows else [entry])]
    return rows


def _rows_of_entry(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that an object by video id stands for: its segments, or itself."""
    for name in _LISTS_OF_SPANS:
        spans = entry.get(name)
        spans = [spans] if isinstance(spans, dict) else spans
        if isinstance(spans, list) and spans and all(isinstance(each, dict) for each in spans):
            about = {key: value for key, value in entry.items() if key != name}
            return [about | _flat_span(dict(each)) for each in spans]
    for text, columns in (("sentences", ("timestamps",)), ("text", ("start", "end"))):
        lists = [entry.get(key) for key in (text, *columns)]
        if all(isinstance(each, list) for each in lists):
            about = {k: v for k, v in entry.items() if k not in (text, *columns)}
            rows = zip(*lists, strict=False)
            named = ("text", "segment") if len(columns) == 1 else ("text", "start", "end")
            return [about | _flat_span(dict(zip(named, row, strict=True))) for row in rows]
    return [_flat_span(entry)]


def _flat_span(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with `start` and `end` for a pair of times."""
    for name in ("segment", "timestamp"):
        span = entry.get(name)
        if isinstance(span, list) and len(span) == 2:
            del entry[name]
            return entry | {"start": span[0], "end": span[1]}
    return entry


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
