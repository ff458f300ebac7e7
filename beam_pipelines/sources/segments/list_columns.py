"""Tables with a video a row, whose segments stand in columns of lists."""

import ast
import dataclasses
from collections.abc import Iterator
from typing import Any

from beam_pipelines.items.manifest import parse_line
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.segments.annotated_video import (
    AnnotatedVideo,
    checked_segment,
    is_seconds,
    shortened,
)
from beam_pipelines.sources.segments.annotation_file import Leftovers
from beam_pipelines.sources.table_rows import read_table
from mm_models.errors import UserError

UNITS_IN_SECONDS = {"seconds": 1.0, "microseconds": 1e-6}


@dataclasses.dataclass(frozen=True)
class ListColumns:
    """Which column holds what.

    Attributes:
        video: id that the media file is named after.
        starts, ends: lists of times, one a segment.
        sentences: list of texts, one a segment.
        duration: of the video; a table may lack it.
        unit: of all times, a key of `UNITS_IN_SECONDS`.
    """

    video: str = "video_id"
    starts: str = "start"
    ends: str = "end"
    sentences: str = "caption"
    duration: str = "duration"
    unit: str = "seconds"

    def needed(self) -> tuple[str, ...]:
        """Columns that a table must have."""
        return self.video, self.starts, self.ends, self.sentences


def read_list_columns(
    path: str, columns: ListColumns, split: str, account: Account
) -> Iterator[AnnotatedVideo | tuple[str, Reject]]:
    """Yields the videos of a table, in its order.

    Args:
        path: CSV, TSV, JSON or JSON Lines; local or URL. Lists in cells are JSON or as Python
            prints them.
        columns: which column holds what.
        split: of all of them; empty: drawn by a hash of the group.
        account: gets the columns that are metadata now, and those that were left out.

    Raises:
        UserError: the table cannot be read, or lacks a column.

    Source: the form of the data of Vid2Seq (Yang et al., CVPR 2023).
    """
    table = read_table(path, lists_as_rows=False, flag="--annotations")
    for name in columns.needed():
        if name not in table.columns:
            known = ", ".join(table.columns) or "none"
            raise UserError(
                f"--annotations {path} has no column {name!r}; its columns are {known}; name the "
                "right one by a flag such as --caption_column"
            )
    leftovers = Leftovers(path)
    for number, row in table.rows:
        video = row[columns.video].strip() or f"row {number}"
        found = _video(row, columns, leftovers)
        if isinstance(found, Reject):
            yield video, found
        else:
            yield AnnotatedVideo(video, split=split, **found)
    leftovers.account_for(account)


def _video(
    row: dict[str, str], columns: ListColumns, leftovers: Leftovers
) -> dict[str, Any] | Reject:
    """Fields of an `AnnotatedVideo`."""
    if not row[columns.video].strip():
        return Reject(RejectCode.BAD_METADATA, f"its {columns.video} is empty")
    lists = [_value(row[name]) for name in columns.needed()[1:]]
    if not all(isinstance(each, list) for each in lists):
        odd = next(each for each in lists if not isinstance(each, list))
        return Reject(RejectCode.BAD_METADATA, f"a cell is no list: {shortened(odd)}")
    starts, ends, texts = lists
    if not len(starts) == len(ends) == len(texts):
        detail = f"there are {len(starts)} starts, {len(ends)} ends and {len(texts)} sentences"
        return Reject(RejectCode.BAD_METADATA, detail)
    unit = UNITS_IN_SECONDS[columns.unit]
    duration = _value(row.get(columns.duration, ""))
    known = {*columns.needed(), columns.duration}
    others = {name: _value(cell) for name, cell in row.items() if name and cell}
    return {
        "segments": [
            checked_segment([_scaled(start, unit), _scaled(end, unit)], text)
            for start, end, text in zip(starts, ends, texts, strict=True)
        ],
        "duration_seconds": duration * unit if is_seconds(duration) else None,
        "metadata": leftovers.metadata(others, known),
    }


def _scaled(value: Any, unit: float) -> Any:
    return value * unit if is_seconds(value) else value


def _value(cell: str) -> Any:
    """What a cell holds: JSON, a list as Python prints it, or the text itself."""
    try:
        return parse_line(cell.encode())
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return cell
