"""How each kind of output is shown as text and JSON, and what files are made of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from export import media_files
from export.client.answer_values import Answer, RowNames, Scores, Values
from export.client.drawn_answers import Boxes, HeatMap, HeatMaps, Point
from export.client.questions import Question
from export.signatures import fields
from export.signatures.fields import Field


class SentenceScores(Scores):
    """A number for each sentence that was given."""

    def row_names(self, field: Field, question: Question, count: int) -> Sequence[str]:
        return question.texts


class ClassNameScores(Scores):
    """A number for each name of a class that was given."""

    def row_names(self, field: Field, question: Question, count: int) -> Sequence[str]:
        return question.labels


class ClassScores(Scores):
    """A number for each class that was trained."""

    most_rows = 5

    def row_names(self, field: Field, question: Question, count: int) -> Sequence[str]:
        return field.properties["class_names"]


class FrameScores(Scores):
    """A number for each frame of a clip, counted from 0."""

    def row_names(self, field: Field, question: Question, count: int) -> Sequence[str]:
        return [f"frame {number}" for number in range(count)]


class Words(RowNames):
    """Words in their order; an empty one is none."""

    def is_shown(self, entry: Any) -> bool:
        return bool(entry)


class OfWords(Values):
    """A value for each of these words."""

    rows = "words"


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
    fields.POINT: Point(),
    fields.MATCH_SCORE: Values(),
    fields.WORDS: Words("words"),
    fields.WORD_SCORES: OfWords(),
    fields.WORD_LEVELS: OfWords(),
    fields.HEAT_MAP: HeatMap(),
    fields.HEAT_MAPS: HeatMaps(),
    fields.FRAME_SCORES: FrameScores("frames"),
    fields.FRAME_NUMBER: Values(),
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
