"""What is shown of an output whose kind is nothing special, and what special kinds begin with."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from export.client.questions import Question
from export.signatures.fields import Field, SignatureDoc

NUM_SHOWN = 4


class Answer(NamedTuple):
    """One output, and what it is drawn with.

    Attributes:
        name: of the output.
        doc: of its signature.
        row: one row of every output of the signature.
        frames: files of the pictures that were asked about; none of other questions.
    """

    name: str
    doc: SignatureDoc
    row: Mapping[str, np.ndarray]
    frames: Sequence[bytes]

    @property
    def value(self) -> np.ndarray:
        """The output itself."""
        return np.asarray(self.row[self.name])

    @property
    def properties(self) -> Mapping[str, Any]:
        """Those of the output."""
        return self.doc.outputs[self.name].properties

    @property
    def picture(self) -> bytes | None:
        """File of the frame that the output is about, else of the middle of the clip."""
        if not self.frames:
            return None
        count, named = len(self.frames), self.properties.get("frame")
        # A clip of fewer frames than the model sees goes round.
        return self.frames[int(self.row[named]) % count if named else count // 2]


class Values:
    """Plain values; also what kinds that nothing is known of are shown as.

    Attributes:
        rows: what a table's rows are that holds the values as a column; empty outside tables.
        names_rows: whether the values are what such rows are called.
        is_score: whether the largest value is best.
        most_rows: rows of a table with them.
    """

    rows = ""
    names_rows = False
    is_score = False
    most_rows = sys.maxsize

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        """What JSON holds of one row's output."""
        return plain(value.tolist())

    def line(self, value: Any, field: Field) -> str:
        """What is printed behind the name of the output, of its JSON value; empty for nothing."""
        array = np.asarray(value)
        if array.ndim == 0:
            return f"{value:.4f}" if isinstance(value, float) else str(value)
        start = ", ".join(self.cell(entry) for entry in array.ravel()[:NUM_SHOWN].tolist())
        more = ", ..." if array.size > NUM_SHOWN else ""
        size = " x ".join(map(str, array.shape))
        return f"{size} {'texts' if array.dtype.kind == 'U' else 'numbers'}: {start}{more}"

    def cell(self, entry: Any) -> str:
        """One entry of a column."""
        return f"{entry:.4f}" if isinstance(entry, float) else str(entry)

    def notes(self, value: Any, field: Field, question: Question) -> list[str]:
        """What a person should be told, of the JSON value."""
        return []

    def row_names(self, field: Field, question: Question, count: int) -> Sequence[str]:
        """What `count` rows are called where no output says so; empty where nothing is known."""
        return ()

    def is_shown(self, entry: Any) -> bool:
        """Whether one entry of a column is anything."""
        return True

    def files(self, answer: Answer) -> dict[str, bytes]:
        """Files by the ending of their names."""
        return {}


class Scores(Values):
    """A number for each row of a table."""

    is_score = True

    def __init__(self, rows: str):
        self.rows = rows


class RowNames(Values):
    """What the rows of a table are called."""

    names_rows = True

    def __init__(self, rows: str):
        self.rows = rows


def plain(value: Any) -> Any:
    """The same as lists, with text in place of bytes."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
