"""How each kind of output is shown as text and JSON, and what files are made of it."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from export import media_files
from export.client.answer_pictures import with_boxes, with_heat
from export.client.questions import Question
from export.signatures import fields
from export.signatures.fields import Field, SignatureDoc

NUM_SHOWN = 4


class Values:
    """Plain values; also what kinds that nothing is known of are shown as.

    Attributes:
        rows: what a table's rows are that holds the values as a column; empty outside tables.
        names_rows: whether the values are what such rows are called.
    """

    rows = ""
    names_rows = False

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        """What JSON holds of one row's output."""
        return plain(value.tolist())

    def line(self, value: Any, field: Field) -> str:
        """What is printed behind the name of the output, of its JSON value; empty for nothing."""
        array = np.asarray(value)
        if array.ndim == 0:
            return f"{value:.4f}" if isinstance(value, float) else str(value)
        start = ", ".join(_cell(entry) for entry in array.ravel()[:NUM_SHOWN].tolist())
        more = ", ..." if array.size > NUM_SHOWN else ""
        size = " x ".join(map(str, array.shape))
        return f"{size} {'texts' if array.dtype.kind == 'U' else 'numbers'}: {start}{more}"

    def cell(self, entry: Any) -> str:
        """One entry of a column."""
        return _cell(entry)

    def notes(self, value: Any, field: Field, question: Question) -> list[str]:
        """What a person should be told, of the JSON value."""
        return []

    def files(
        self, name: str, doc: SignatureDoc, row: Mapping[str, np.ndarray], picture: bytes | None
    ) -> dict[str, bytes]:
        """Files by the ending of their names.

        Args:
            name: of the output.
            doc: of its signature.
            row: one row of every output of the signature.
            picture: file of the picture that was asked about, or of the middle of the clip.
        """
        return {}


class Column(Values):
    """One value for each row of a table."""

    def __init__(self, rows: str):
        self.rows = rows


class RowNames(Column):
    """What the rows of a table are called."""

    names_rows = True


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


class Boxes(Column):
    """Places in the picture; a box without area is none."""

    def cell(self, entry: Any) -> str:
        return " ".join(f"{edge:.3f}" for edge in entry)

    def files(
        self, name: str, doc: SignatureDoc, row: Mapping[str, np.ndarray], picture: bytes | None
    ) -> dict[str, bytes]:
        found = described_boxes(name, doc, row)
        files = {".json": (json.dumps(found, indent=2) + "\n").encode()}
        if picture is not None:
            boxes = np.reshape([box[fields.BOXES] for box in found], [-1, 4])
            titles = [_box_title(box) for box in found]
            drawn = with_boxes(media_files.picture_pixels(picture), boxes, titles)
            files[".png"] = media_files.png_file(drawn)
        return files


class HeatMap(Values):
    """Where in the picture something is."""

    def line(self, value: Any, field: Field) -> str:
        heat = np.asarray(value, np.float64)
        row, column = np.unravel_index(np.argmax(heat), heat.shape)
        size = f"{heat.shape[0]} x {heat.shape[1]}"
        return f"{size} heat map, most at row {row}, column {column}: {heat[row, column]:.4f}"

    def files(
        self, name: str, doc: SignatureDoc, row: Mapping[str, np.ndarray], picture: bytes | None
    ) -> dict[str, bytes]:
        heat = np.asarray(row[name], np.float32)
        if picture is None:
            below = np.zeros((*heat.shape, 3), np.uint8)
        else:
            below = media_files.picture_pixels(picture)
        return {".png": media_files.png_file(with_heat(below, heat))}


class Sound(Values):
    """A mono waveform in [-1, 1]; JSON holds its size, the file its samples."""

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        rate = field.properties["sample_rate_hz"]
        return {"sample_rate_hz": rate, "num_samples": len(value)}

    def line(self, value: Any, field: Field) -> str:
        seconds = value["num_samples"] / value["sample_rate_hz"]
        return f"{seconds:.2f} s of sound at {value['sample_rate_hz']} Hz"

    def files(
        self, name: str, doc: SignatureDoc, row: Mapping[str, np.ndarray], picture: bytes | None
    ) -> dict[str, bytes]:
        rate = doc.outputs[name].properties["sample_rate_hz"]
        return {".wav": media_files.wav_file(row[name], rate)}


class Video(Values):
    """RGB frames; JSON holds their size, the file their pixels."""

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        num_frames, height, width = value.shape[:3]
        rate = field.properties["frame_rate_hz"]
        return {
            "frame_rate_hz": rate, "num_frames": num_frames, "height": height, "width": width
        }  # fmt: skip

    def line(self, value: Any, field: Field) -> str:
        size = f"{value['height']} x {value['width']} pixels"
        return f"{value['num_frames']} frames of {size} at {value['frame_rate_hz']:g} per second"

    def files(
        self, name: str, doc: SignatureDoc, row: Mapping[str, np.ndarray], picture: bytes | None
    ) -> dict[str, bytes]:
        rate = doc.outputs[name].properties["frame_rate_hz"]
        return {".mp4": media_files.mp4_file(np.asarray(row[name], np.uint8), rate)}


ANSWER_KINDS: dict[str, Values] = {
    fields.EMBEDDING: Values(),
    fields.SENTENCE_SCORES: Column("sentences"),
    fields.CLASS_NAME_SCORES: Column("class names"),
    fields.CLASS_NAME_FLAGS: ClassNameFlags(),
    fields.CHOICE: Values(),
    fields.CLASS_SCORES: Column("classes"),
    fields.BEST_CLASSES: RowNames("best classes"),
    fields.BEST_CLASS_SCORES: Column("best classes"),
    fields.TEXT: RowNames("texts"),
    fields.TEXT_SCORES: Column("texts"),
    fields.FLAG: Flag(),
    fields.BOXES: Boxes("boxes"),
    fields.BOX_SCORES: Column("boxes"),
    fields.BOX_WORDS: RowNames("boxes"),
    fields.HEAT_MAP: HeatMap(),
    fields.SOUND: Sound(),
    fields.VIDEO: Video(),
    fields.TOKENS: Values(),
}
_PLAIN_VALUES = Values()


def answer_kind(field: Field) -> Values:
    """How an output is shown."""
    return ANSWER_KINDS.get(field.kind, _PLAIN_VALUES)


def described_boxes(
    name: str, doc: SignatureDoc, row: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """The boxes that have an area, each with its score and words where the signature gives them."""
    found = []
    beside = {fields.BOX_SCORES: "score", fields.BOX_WORDS: "words"}
    for index, box in enumerate(np.asarray(row[name], np.float64)):
        if not (box[2] > box[0] and box[3] > box[1]):
            continue
        entry: dict[str, Any] = {fields.BOXES: box.tolist()}
        for output, field in doc.outputs.items():
            if field.kind in beside:
                entry[beside[field.kind]] = plain(np.asarray(row[output])[index : index + 1])[0]
        found.append(entry)
    return found


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


def _cell(entry: Any) -> str:
    return f"{entry:.4f}" if isinstance(entry, float) else str(entry)
