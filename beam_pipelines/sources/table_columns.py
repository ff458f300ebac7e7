"""Which column of a table holds what: as the user says, or by the names data sets use."""

import dataclasses
import fnmatch

from beam_pipelines.items.schema import SPLITS
from beam_pipelines.sources.captions.languages import language_behind
from beam_pipelines.sources.table_rows import Table
from mm_models.errors import UserError

_MEDIA = (
    *("file", "media", "path", "file_path", "filepath", "file_name", "filename", "video_path"),
    *("audio_path", "image_path", "video", "audio", "image", "clip", "wav", "video_file"),
    *("youtube_id", "ytid", "video_id", "videoid", "vid", "audio_id", "image_id", "clip_id", "id"),
)
_START = (
    *("start", "start_seconds", "time_start", "start_time", "start_sec", "begin", "t_start"),
    "start_timestamp",
)
_END = (
    *("end", "end_seconds", "time_end", "end_time", "end_sec", "stop", "t_end"),
    *("stop_timestamp", "end_timestamp"),
)
_CAPTION = (
    *("caption", "captions", "text", "sentence", "transcript", "transcription", "description"),
    "narration",
)
_LABEL = ("label", "labels", "positive_labels", "class", "class_name", "category", "action")
_SPLIT = ("split", "subset", "partition")
_LANGUAGE = ("language", "lang")
_SEVERAL_LABELS = ("labels", "positive_labels")
# What published tables write for our names; a cell that is neither is a reject.
SPLIT_CELLS = {name: name for name in SPLITS} | {
    **dict.fromkeys(("training", "train_set"), "train"),
    **dict.fromkeys(("validate", "validation", "valid"), "val"),
    **dict.fromkeys(("testing", "eval", "evaluation"), "test"),
}


@dataclasses.dataclass(frozen=True)
class ColumnMapping:
    """Which column holds what. Where a field is None, the column is found by its name.

    Attributes:
        media: path of the media file, relative to the table's folder, or the id in its name.
        id: unique id; empty: the media path, and the segment.
        captions: columns with one caption each; empty cells are skipped.
        label: class name; indices follow the sorted names of the table, or `label_index`.
        split: train, val or test, or what `split_names` turns into one of them.
        language: language of the row's captions.
        word_times: path of a GRID alignment (`start end word` in 1/25,000 s), relative to the
            table's folder; its words become timed captions of style `word`. Empty cells have none.
        split_names: cell of the split column → split; empty takes the cells as they are.
        where: column → shell-style pattern; rows that do not match all of them are left out.
        label_index: number of the class whose name `label` holds, counted from 0.
        start, end: of the segment of the media file that the row is about, in seconds or as a
            clock; empty cells mean the whole file.
        label_separator: between the classes of one cell; empty: a cell is one class.
    """

    media: str | None = None
    id: str = ""
    captions: tuple[str, ...] | None = None
    label: str | None = None
    split: str | None = None
    language: str | None = None
    word_times: str = ""
    split_names: dict[str, str] = dataclasses.field(default_factory=dict)
    where: dict[str, str] = dataclasses.field(default_factory=dict)
    label_index: str = ""
    start: str | None = None
    end: str | None = None
    label_separator: str | None = None

    def columns(self) -> list[str]:
        """All columns that are named."""
        named = [self.media, self.id, *(self.captions or ()), self.label, self.split, self.language]
        named += [self.word_times, self.label_index, self.start, self.end, *self.where]
        return [name for name in named if name]

    def in_words(self) -> str:
        """Which column is taken for what."""
        taken = {
            "media": self.media,
            "id": self.id,
            "segment": " to ".join(filter(None, (self.start, self.end))),
            "captions": ", ".join(self.captions or ()),
            "label": self.label,
            "split": self.split,
            "language": self.language,
        }
        return "; ".join(f"{what} from {column}" for what, column in taken.items() if column)

    def keeps(self, row: dict[str, str]) -> bool:
        """Whether a row matches every pattern."""
        return all(fnmatch.fnmatchcase(row[name], want) for name, want in self.where.items())

    def split_of(self, row: dict[str, str]) -> str:
        """The split a row names; empty where the mapping does not know its cell."""
        cell = row[self.split].strip() if self.split else ""
        return self.split_names.get(cell, "") if self.split_names else cell


def complete(mapping: ColumnMapping, table: Table, path: str) -> ColumnMapping:
    """The mapping with a column or none for every field.

    Raises:
        UserError: a column that is named is not there, or none is known to hold the media.
    """
    media = _media_column(mapping, table, path)
    taken = {*dataclasses.replace(mapping, where={}).columns(), media}
    start, end = _span_columns(mapping, table, taken, path)
    taken |= {start, end}
    label = _found(mapping.label, table, _LABEL, taken)
    captions = mapping.captions
    if captions is None:
        captions = _caption_columns(table, taken | {label})
    return dataclasses.replace(
        mapping,
        media=media,
        start=start,
        end=end,
        label=label,
        captions=captions,
        language=_found(mapping.language, table, _LANGUAGE, taken),
        label_separator=_separator(mapping, label),
        **_split_columns(mapping, table, taken),
    )


def _media_column(mapping: ColumnMapping, table: Table, path: str) -> str:
    for column in mapping.columns():
        if column not in table.columns:
            known = ", ".join(table.columns) or "none"
            raise UserError(f"table {path} has no column {column!r}; its columns are {known}")
    taken = set(dataclasses.replace(mapping, where={}).columns())
    media = mapping.media or _find(table, _MEDIA, taken)
    if not media:
        raise UserError(
            f"table {path}: no column is known to hold the media; its columns are "
            f"{', '.join(table.columns) or 'none'}; name it by --media_column"
        )
    return media


def _caption_columns(table: Table, taken: set[str]) -> tuple[str, ...]:
    """The first column that captions are known to be called, and those of languages beside it."""
    first = _find(table, _CAPTION, taken)
    named = [
        column
        for column in table.columns
        if column not in taken and column != first and language_of_column(column)
    ]
    return tuple(filter(None, [first, *named]))


def language_of_column(column: str) -> str:
    """Language of a column such as `caption_de`; empty for other names."""
    found = language_behind(column, "_")
    return found[1] if found and found[0].lower() in _CAPTION else ""


def _span_columns(
    mapping: ColumnMapping, table: Table, taken: set[str], path: str
) -> tuple[str, str]:
    start = _found(mapping.start, table, _START, taken)
    end = _found(mapping.end, table, _END, taken)
    if bool(start) == bool(end):
        return start, end
    if mapping.start or mapping.end:
        raise UserError(
            f"table {path}: --start_column and --end_column go together; found only "
            f"{start or end!r}"
        )
    return "", ""


def _split_columns(mapping: ColumnMapping, table: Table, taken: set[str]) -> dict:
    if mapping.split is not None:
        return {"split": mapping.split, "split_names": mapping.split_names}
    column = _find(table, _SPLIT, taken)
    cells = {row[column].strip() for _, row in table.rows} if column else set()
    names = {cell: SPLIT_CELLS[cell.lower()] for cell in cells if cell.lower() in SPLIT_CELLS}
    if not cells or len(names) < len(cells):
        return {"split": "", "split_names": {}}
    return {"split": column, "split_names": names}


def _separator(mapping: ColumnMapping, label: str) -> str:
    if mapping.label_separator is not None:
        return mapping.label_separator
    return "," if label.lower() in _SEVERAL_LABELS else ""


def _found(asked: str | None, table: Table, names: tuple[str, ...], taken: set[str]) -> str:
    return _find(table, names, taken) if asked is None else asked


def _find(table: Table, names: tuple[str, ...], taken: set[str]) -> str:
    """The first of the names that is a column nobody has taken, in the table's spelling."""
    spelled = {column.lower().replace(" ", "_"): column for column in reversed(table.columns)}
    found = (spelled[name] for name in names if name in spelled)
    return next((column for column in found if column not in taken), "")
