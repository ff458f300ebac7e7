"""How each kind of output is shown as text and JSON, and what files are made of it."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from export import media_files
from export.client.answer_pictures import with_boxes, with_heat
from export.client.questions import Question
from export.signatures import fields
from export.signatures.fields import Field, SignatureDoc

NUM_SHOWN = 4


class Answer(NamedTuple):
    """One output, and what it is drawn with.

    Attributes:
        name: of the output.
        doc: of its signature.
        row: one row of every output of the signature.
        picture: file of the picture that was asked about, or of the middle of the clip.
    """

    name: str
    doc: SignatureDoc
    row: Mapping[str, np.ndarray]
    picture: bytes | None

    @property
    def value(self) -> np.ndarray:
        """The output itself."""
        return np.asarray(self.row[self.name])

    @property
    def properties(self) -> Mapping[str, Any]:
        """Those of the output."""
        return self.doc.outputs[self.name].properties


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

    def row_names(self, field: Field, question: Question) -> Sequence[str]:
        """What the rows are called where no output says so; empty where nothing is known."""
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


class SentenceScores(Scores):
    """A number for each sentence that was given."""

    def row_names(self, field: Field, question: Question) -> Sequence[str]:
        return question.texts


class ClassNameScores(Scores):
    """A number for each name of a class that was given."""

    def row_names(self, field: Field, question: Question) -> Sequence[str]:
        return question.labels


class ClassScores(Scores):
    """A number for each class that was trained."""

    most_rows = 5

    def row_names(self, field: Field, question: Question) -> Sequence[str]:
        return field.properties["class_names"]


class RowNames(Values):
    """What the rows of a table are called."""

    names_rows = True

    def __init__(self, rows: str):
        self.rows = rows


class Flag(Values):
    """Whether what the note says is so."""

    def line(self, value: Any, field: Field) -> str:
        return ""

    def notes(self, value: Any, field: Field, question: Question) -> list[str]:
        return [field.properties["note"]] if value else []


class ClassNameFlags(Flag):
    """The same for each name of a class that was given."""

    def notes(self, value: Any, field: Field, question: Question) -> list[str]:
        note = field.properties["note"]
        named = zip(question.labels, value, strict=True)
        return [note.replace("{}", repr(label)) for label, is_set in named if is_set]


class Boxes(Values):
    """Places in the picture; a box without area is none."""

    rows = "boxes"

    def cell(self, entry: Any) -> str:
        return " ".join(f"{edge:.3f}" for edge in entry)

    def is_shown(self, entry: Any) -> bool:
        return entry[2] > entry[0] and entry[3] > entry[1]

    def files(self, answer: Answer) -> dict[str, bytes]:
        found = self._described(answer)
        files = {".json": (json.dumps(found, indent=2) + "\n").encode()}
        if answer.picture is not None:
            boxes = np.reshape([box[fields.BOXES] for box in found], [-1, 4])
            titles = [_box_title(box) for box in found]
            drawn = with_boxes(media_files.picture_pixels(answer.picture), boxes, titles)
            files[".png"] = media_files.png_file(drawn)
        return files

    def _described(self, answer: Answer) -> list[dict[str, Any]]:
        """The boxes, each with its score and words where the signature gives them."""
        keys = {fields.BOX_SCORES: "score", fields.BOX_WORDS: "words"}
        beside = {
            keys[field.kind]: plain(np.asarray(answer.row[name]))
            for name, field in answer.doc.outputs.items()
            if field.kind in keys
        }
        return [
            {fields.BOXES: box, **{key: values[index] for key, values in beside.items()}}
            for index, box in enumerate(answer.value.tolist())
            if self.is_shown(box)
        ]


class HeatMap(Values):
    """Where in the picture something is."""

    def line(self, value: Any, field: Field) -> str:
        heat = np.asarray(value, np.float64)
        row, column = np.unravel_index(np.argmax(heat), heat.shape)
        size = f"{heat.shape[0]} x {heat.shape[1]}"
        return f"{size} heat map, most at row {row}, column {column}: {heat[row, column]:.4f}"

    def files(self, answer: Answer) -> dict[str, bytes]:
        below = np.zeros((*answer.value.shape, 3), np.uint8)
        if answer.picture is not None:
            below = media_files.picture_pixels(answer.picture)
        return {".png": media_files.png_file(with_heat(below, answer.value))}


class FeatureMap(Values):
    """Features of the regions of what was seen; JSON holds their number, a file the features."""

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        return dict(zip(("rows", "columns", "dim"), value.shape, strict=True))

    def line(self, value: Any, field: Field) -> str:
        return f"{value['rows']} x {value['columns']} regions of {value['dim']} features"

    def files(self, answer: Answer) -> dict[str, bytes]:
        return {".npy": media_files.npy_file(answer.value)}


class WordVectors(Values):
    """A vector for each word of a sentence; JSON holds their number, a file the vectors."""

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        return dict(zip(("words", "dim"), value.shape, strict=True))

    def line(self, value: Any, field: Field) -> str:
        return f"{value['words']} words of {value['dim']} numbers"

    def files(self, answer: Answer) -> dict[str, bytes]:
        return {".npy": media_files.npy_file(answer.value)}


class Sound(Values):
    """A mono waveform in [-1, 1]; JSON holds its size, the file its samples."""

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        rate = field.properties["sample_rate_hz"]
        return {"sample_rate_hz": rate, "num_samples": len(value)}

    def line(self, value: Any, field: Field) -> str:
        seconds = value["num_samples"] / value["sample_rate_hz"]
        return f"{seconds:.2f} s of sound at {value['sample_rate_hz']} Hz"

    def files(self, answer: Answer) -> dict[str, bytes]:
        rate = answer.properties["sample_rate_hz"]
        return {".wav": media_files.wav_file(answer.value, rate)}


class Video(Values):
    """RGB frames; JSON holds their size, the file their pixels."""

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        num_frames, height, width = value.shape[:3]
        rate = field.properties["frame_rate_hz"]
        size = {"num_frames": num_frames, "height": height, "width": width}
        return {"frame_rate_hz": rate, **size}

    def line(self, value: Any, field: Field) -> str:
        size = f"{value['height']} x {value['width']} pixels"
        return f"{value['num_frames']} frames of {size} at {value['frame_rate_hz']:g} per second"

    def files(self, answer: Answer) -> dict[str, bytes]:
        rate = answer.properties["frame_rate_hz"]
        return {".mp4": media_files.mp4_file(answer.value.astype(np.uint8), rate)}


ANSWER_KINDS: dict[str, Values] = {
    fields.EMBEDDING: Values(),
    fields.SENTENCE_SCORES: SentenceScores("sentences"),
    fields.CLASS_NAME_SCORES: ClassNameScores("class names"),
    fields.CLASS_NAME_FLAGS: ClassNameFlags(),
    fields.CHOICE: Values(),
    fields.CLASS_SCORES: ClassScores("classes"),
    fields.BEST_CLASSES: RowNames("best classes"),
    fields.BEST_CLASS_SCORES: Scores("best classes"),
    fields.TEXT: RowNames("texts"),
    fields.TEXT_SCORES: Scores("texts"),
    fields.FLAG: Flag(),
    fields.BOXES: Boxes(),
    fields.BOX_SCORES: Scores("boxes"),
    fields.BOX_WORDS: RowNames("boxes"),
    fields.HEAT_MAP: HeatMap(),
    fields.FEATURE_MAP: FeatureMap(),
    fields.WORD_VECTORS: WordVectors(),
    fields.WORD_COUNT: Values(),
    fields.SOUND: Sound(),
    fields.VIDEO: Video(),
    fields.CODES: Values(),
    fields.REGION_WEIGHTS: Values(),
    fields.TOKENS: Values(),
}


def answer_kind(field: Field) -> Values:
    """How an output is shown."""
    return ANSWER_KINDS.get(field.kind, Values())


def plain(value: Any) -> Any:
    """The same as lists, with text in place of bytes."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _box_title(box: Mapping[str, Any]) -> str:
    score = f"{box['score']:.2f}" if "score" in box else ""
    return f"{box.get('words', '')} {score}".strip()
