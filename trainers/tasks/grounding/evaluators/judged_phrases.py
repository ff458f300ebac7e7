"""One phrase judged: where the model points, against the boxes of the phrase's objects."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from mm_models.metrics.boxes import heat_maps, overlap
from mm_models.metrics.boxes.proposals import propose_boxes
from trainers.data.parts.phrases.catalog import DescribedRecord
from trainers.data.parts.phrases.record_phrases import RecordPhrase, is_there, words_of

GOOD_IOU = 0.5


class GroundedPhrase(NamedTuple):
    """What a model says of a phrase.

    Attributes:
        heat: float32[words, frames, rows, columns] of the level that each word chose.
        scores: float32[words, frames] of that level.
        levels: int32[words, frames] that level.
        sentence_heat: float32[frames, rows, columns].
        sentence_scores: float32[frames].
    """

    heat: np.ndarray
    scores: np.ndarray
    levels: np.ndarray
    sentence_heat: np.ndarray
    sentence_scores: np.ndarray

    @property
    def frame_scores(self) -> np.ndarray:
        """float64[frames]: means over the words; zeros for a phrase without any."""
        if not len(self.scores):
            return np.zeros(len(self.sentence_scores))
        return np.asarray(self.scores, np.float64).mean(axis=0)

    @property
    def frame(self) -> int:
        """The frame of the highest score, the first one of several."""
        return int(self.frame_scores.argmax())

    @property
    def heat_map(self) -> np.ndarray:
        """float64[rows, columns] of the phrase in that frame; zeros where no word has a score."""
        shape = self.sentence_heat.shape[1:]
        if not len(self.scores):
            return np.zeros(shape)
        return heat_maps.phrase_map(self.heat[:, self.frame], self.scores[:, self.frame])


@dataclasses.dataclass(frozen=True)
class JudgedPhrase:
    """How a phrase was found; see `PointingEvaluator` for what the numbers mean.

    Attributes:
        categories: of the phrase.
        score: of the frame of the highest one.
        is_hit, sentence_hit: whether the highest pixels lie in a box.
        attention_correctness, iou: of the phrase's map in that frame.
        box_share: of the picture that the union box takes, in the frame where it takes most.
        is_shared: whether one of the words that matter stands in a phrase of another object too.
        center_hit, random_point_hit, random_object_hit: expected of guesses, in a random frame.
        is_in_frame: whether the frame of the highest score has a box of the phrase.
        visible_share: of the frames that have one.
        levels: that the words with a score chose in that frame.
    """

    categories: tuple[str, ...]
    score: float
    is_hit: bool
    sentence_hit: bool
    attention_correctness: float
    iou: float
    box_share: float
    is_shared: bool
    center_hit: float
    random_point_hit: float
    random_object_hit: float
    is_in_frame: bool
    visible_share: float
    levels: tuple[int, ...]

    @property
    def guesses(self) -> Mapping[str, float]:
        """Pointing by those who do not look, by name."""
        return {
            "center": self.center_hit,
            "random_point": self.random_point_hit,
            "random_object": self.random_object_hit,
        }


def judge(
    found: GroundedPhrase,
    described: DescribedRecord,
    phrase: RecordPhrase,
    size: tuple[int, int],
    shared_words: Collection[str],
) -> JudgedPhrase:
    """Compares what a model says of a phrase with the boxes of its objects.

    Args:
        found: of the phrase.
        described: its record, some sampled frame of which has a box of the phrase.
        phrase: one of that record.
        size: height and width of the picture in pixels, on which maps are enlarged.
        shared_words: words that matter to `is_shared`.
    """
    boxes = described.boxes(phrase)  # [frames, objects, 4]
    present = [each[is_there(each)] for each in boxes]
    scale = np.array([*size, *size], np.float64)
    frame, heat = found.frame, found.heat_map
    # Rounded, since boxes of whole pixels come as shares in single precision.
    here = np.round(present[frame] * scale, 3)
    hit, correctness, overlap_share = False, 0.0, 0.0
    if heat.any() and len(here):
        large = heat_maps.enlarge(heat, *size)
        hit = heat_maps.points_at(large, here)
        correctness = heat_maps.attention_correctness(large, here)
        proposed = overlap.union_box(propose_boxes(heat, *size))
        overlap_share = overlap.iou(proposed, overlap.union_box(here))
    guesses = np.mean(
        [_guesses(*each) for each in zip(present, described.object_boxes, strict=True)], axis=0
    )
    return JudgedPhrase(
        categories=phrase.categories,
        score=float(found.frame_scores[frame]),
        is_hit=hit,
        sentence_hit=_sentence_hit(found, present, scale),
        attention_correctness=correctness,
        iou=overlap_share,
        box_share=max(float(overlap.area(overlap.union_box(each))) for each in present),
        is_shared=shares_word(described, phrase, shared_words),
        center_hit=float(guesses[0]),
        random_point_hit=float(guesses[1]),
        random_object_hit=float(guesses[2]),
        is_in_frame=bool(len(here)),
        visible_share=float(np.mean([len(each) > 0 for each in present])),
        levels=tuple(found.levels[found.scores[:, frame] > 0, frame].tolist()),
    )


def _sentence_hit(found: GroundedPhrase, present: list[np.ndarray], scale: np.ndarray) -> bool:
    """Whether the map of the whole sentence, in the frame of its best score, points at a box."""
    frame = int(found.sentence_scores.argmax())
    heat = found.sentence_heat[frame]
    if not heat.any() or not len(present[frame]):
        return False
    large = heat_maps.enlarge(heat, int(scale[0]), int(scale[1]))
    return heat_maps.points_at(large, np.round(present[frame] * scale, 3))


def _guesses(boxes: np.ndarray, objects: np.ndarray) -> tuple[float, float, float]:
    """Expected hits in one frame of its centre, of a random point, and of a random object's centre.

    Args:
        boxes: float32[boxes, 4] of the phrase in the frame.
        objects: float32[objects, 4] of everything in the clip, zeros where it is not in the frame.
    """
    objects = objects[is_there(objects)]
    centers = (objects[:, :2] + objects[:, 2:]) / 2
    of_objects = [overlap.contain(boxes, center) for center in centers]
    return (
        float(overlap.contain(boxes, (0.5, 0.5))),
        overlap.covered_area(np.clip(boxes, 0.0, 1.0)),
        float(np.mean(of_objects)) if of_objects else 0.0,
    )


def shares_word(
    described: DescribedRecord, phrase: RecordPhrase, shared_words: Collection[str]
) -> bool:
    """Whether one of the phrase's words that are in `shared_words` also stands in a phrase of
    another object, which some sampled frame has."""
    words = set(words_of(phrase.text)) & set(shared_words)
    for other in described.phrases if words else ():
        others = set(other.objects) - set(phrase.objects)
        if others and words & set(words_of(other.text)):
            alone = dataclasses.replace(other, objects=tuple(sorted(others)))
            if is_there(described.boxes(alone)).any():
                return True
    return False
