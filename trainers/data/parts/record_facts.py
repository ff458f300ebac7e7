"""What a record says of its clip in words and boxes, read outside the graph."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract

WRONG = "wrong"


@dataclasses.dataclass(frozen=True)
class CaptionFact:
    """One caption; language and style are empty where the record does not say.

    `is_wrong` where it is known to be.
    """

    text: str
    language: str
    style: str
    is_wrong: bool


@dataclasses.dataclass(frozen=True)
class QuestionFact:
    """One question with its answer."""

    text: str
    answer: str
    kind: str
    language: str


@dataclasses.dataclass(frozen=True)
class PhraseFact:
    """One phrase about one object.

    Attributes:
        text, language: of the phrase; the language is empty where the record does not say.
        sentence: that it stands in; empty where it stands for itself.
        first_word: place of its first word among the words of the sentence; -1 without one.
        object_id: of the object.
    """

    text: str
    language: str
    sentence: str
    first_word: int
    object_id: int


@dataclasses.dataclass(frozen=True)
class RecordFacts:
    """The words and boxes of one record.

    Attributes:
        key: unique key of the clip.
        media: media file the clip was cut from.
        captions: in stored order.
        questions: in stored order.
        labels: names of the clip's classes.
        objects: class names of the objects.
        boxes_yxyx_norm: float32[frames, objects, 4] y0, x0, y1, x1, zeros where an object is
            absent; no frames where the record has no boxes.
        visibility: float32[frames, objects]; ones where the record does not say.
        num_frames: stored frames.
        group: the whole that the clip is a part of; empty where the record does not say.
        place: of the clip among those of its group or media file: number in the group, 0 where the
            record does not say, and start in microseconds.
        object_ids: of the objects; empty where the record does not say.
        phrases: in stored order, one for each object of a phrase.
        size: stored height and width of the frames in pixels; zeros where the record does not say.
    """

    key: str
    media: str
    captions: tuple[CaptionFact, ...]
    questions: tuple[QuestionFact, ...]
    labels: tuple[str, ...]
    objects: tuple[str, ...]
    boxes_yxyx_norm: np.ndarray
    visibility: np.ndarray
    num_frames: int
    group: str = ""
    place: tuple[int, int] = (0, 0)
    object_ids: tuple[int, ...] = ()
    phrases: tuple[PhraseFact, ...] = ()
    size: tuple[int, int] = (0, 0)


def read_facts(content: bytes, names: dict[str, str], *, with_boxes: bool = True) -> RecordFacts:
    """Reads a serialized record.

    Args:
        content: a `tf.train.SequenceExample`, or an `Example`.
        names: our key to the record's, for foreign records.
        with_boxes: also read the objects' boxes, which takes longest.
    """
    example = tf.train.SequenceExample.FromString(content)
    context, lists = example.context.feature, example.feature_lists.feature_list

    def texts(key: str) -> list[str]:
        values = context[names.get(key, key)].bytes_list.value
        return [value.decode("utf-8", "replace") for value in values]

    def numbers(key: str) -> list[int]:
        return list(context[names.get(key, key)].int64_list.value)

    def number(key: str) -> int:
        return (numbers(key) or [0])[0]

    def beside(key: str, count: int) -> list[str]:
        found = texts(key)[:count]
        return found + [""] * (count - len(found))

    captions = texts(contract.CAPTION)
    columns = [
        beside(key, len(captions))
        for key in (contract.CAPTION_LANGUAGE, contract.CAPTION_STYLE, contract.CAPTION_RELATION)
    ]
    questions = texts(contract.QUESTION)
    about = [
        beside(key, len(questions))
        for key in (contract.ANSWER, contract.QUESTION_KIND, contract.QUESTION_LANGUAGE)
    ]
    objects = texts(contract.OBJECT_LABEL_TEXT)
    boxes, visibility = _boxes(lists if with_boxes else {}, names, len(objects))
    return RecordFacts(
        key="".join(texts(contract.CLIP_KEY)[:1]),
        media="".join(texts(contract.MEDIA_FILENAME)[:1]),
        captions=tuple(
            CaptionFact(text, language, style, relation == WRONG)
            for text, language, style, relation in zip(captions, *columns, strict=True)
            if text.strip()
        ),
        questions=tuple(
            QuestionFact(text, answer, kind, language)
            for text, answer, kind, language in zip(questions, *about, strict=True)
            if text.strip() and answer.strip()
        ),
        labels=tuple(texts(contract.LABEL_TEXT)),
        objects=tuple(objects),
        boxes_yxyx_norm=boxes,
        visibility=visibility,
        num_frames=len(lists[names.get(contract.FRAMES, contract.FRAMES)].feature),
        group="".join(texts(contract.CLIP_GROUP)[:1]),
        place=(number(contract.CLIP_GROUP_INDEX), number(contract.CLIP_START)),
        object_ids=tuple(numbers(contract.OBJECT_ID)),
        phrases=_phrases(texts, numbers),
        size=(number(contract.HEIGHT), number(contract.WIDTH)),
    )


def _phrases(
    texts: Callable[[str], list[str]], numbers: Callable[[str], list[int]]
) -> tuple[PhraseFact, ...]:
    """Those that name an object, of the texts and numbers of a record's keys."""
    phrases = texts(contract.OBJECT_PHRASE)
    objects = numbers(contract.OBJECT_PHRASE_OBJECT)
    count = min(len(phrases), len(objects))
    languages, sentences = (
        (texts(key) + [""] * count)[:count]
        for key in (contract.OBJECT_PHRASE_LANGUAGE, contract.OBJECT_PHRASE_SENTENCE)
    )
    places = (numbers(contract.OBJECT_PHRASE_FIRST_WORD) + [-1] * count)[:count]
    return tuple(
        PhraseFact(phrases[row], languages[row], sentences[row], places[row], objects[row])
        for row in range(count)
        if phrases[row].strip()
    )


def _boxes(lists, names: dict[str, str], num_objects: int) -> tuple[np.ndarray, np.ndarray]:
    def per_frame(key: str, width: int) -> np.ndarray:
        key = names.get(key, key)
        steps = lists[key].feature if key in lists else ()
        rows = [step.float_list.value for step in steps]
        if not width or any(len(row) != width for row in rows):
            rows = []
        return np.array(rows, np.float32).reshape(len(rows), width)

    boxes = np.zeros((0, 0, 4), np.float32)
    if num_objects:
        boxes = per_frame(contract.OBJECT_BOXES, 4 * num_objects).reshape(-1, num_objects, 4)
    visibility = per_frame(contract.OBJECT_VISIBILITY, num_objects)
    if visibility.shape != boxes.shape[:2]:
        visibility = np.ones(boxes.shape[:2], np.float32)
    return boxes, visibility
