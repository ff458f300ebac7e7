"""The different phrases of a record, and where their objects are."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from trainers.data.parts.record_facts import PhraseFact, RecordFacts


@dataclasses.dataclass(frozen=True)
class RecordPhrase:
    """One phrase, of one or more objects of its record.

    Attributes:
        text: the phrase.
        sentence: that is encoded: the one that the phrase stands in, or the phrase itself.
        span: place of its first word in the sentence, and how many words it has.
        objects: places of its objects among those of the record; empty where they are not known.
        categories: different names of the classes of its objects.
    """

    text: str
    sentence: str
    span: tuple[int, int]
    objects: tuple[int, ...]
    categories: tuple[str, ...]


def words_of(text: str) -> list[str]:
    """Words as encoders see them: what ASCII white space separates."""
    return [word.decode() for word in text.encode().split()]


def record_phrases(facts: RecordFacts, languages: Sequence[str]) -> list[RecordPhrase]:
    """The different phrases in the order in which the record has them first.

    Rows of the same text, sentence and first word are one phrase of several objects.

    Args:
        facts: of a record.
        languages: those that are kept; empty: all.
    """
    rows: dict[tuple[str, str, int], list[PhraseFact]] = {}
    for phrase in facts.phrases:
        if not languages or phrase.language in languages:
            is_inside = bool(phrase.sentence.strip()) and phrase.first_word >= 0
            place = (phrase.sentence, phrase.first_word) if is_inside else ("", -1)
            rows.setdefault((phrase.text, *place), []).append(phrase)
    return [_phrase(facts, *key, same) for key, same in rows.items()]


def _phrase(
    facts: RecordFacts, text: str, sentence: str, first_word: int, same: list[PhraseFact]
) -> RecordPhrase:
    places = {number: place for place, number in enumerate(facts.object_ids)}
    objects = dict.fromkeys(places[row.object_id] for row in same if row.object_id in places)
    names = (facts.objects[place] for place in objects if place < len(facts.objects))
    return RecordPhrase(
        text,
        sentence or text,
        (max(first_word, 0), len(words_of(text))),
        tuple(objects),
        tuple(dict.fromkeys(names)),
    )


def boxes_in(facts: RecordFacts, frames: np.ndarray, objects: Sequence[int]) -> np.ndarray:
    """Boxes of objects in some frames.

    Args:
        facts: of a record.
        frames: int64[frames] numbers of stored frames.
        objects: places of the objects in the record.

    Returns:
        float32[frames, objects, 4] y0, x0, y1, x1 as shares of the frame; zeros where an object is
        absent. Objects that no frame of the clip has are left out.
    """
    boxes = facts.boxes_yxyx_norm
    if not len(boxes) or not len(objects):
        return np.zeros((len(frames), 0, 4), np.float32)
    boxes = boxes[:, list(objects)]
    boxes = np.where(is_there(boxes)[..., np.newaxis], boxes, 0.0)
    boxes = boxes[:, is_there(boxes).any(axis=0)]
    return boxes[np.minimum(frames, len(boxes) - 1)]


def is_there(boxes: np.ndarray) -> np.ndarray:
    """bool[...]: which boxes of float[..., 4] have an area."""
    return (boxes[..., 2:] - boxes[..., :2]).min(axis=-1) > 0
