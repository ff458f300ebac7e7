"""Phrases in pictures: what is hot, where the boxes are, and where the model points."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mm_models.metrics.boxes.heat_maps import enlarge, first_maximum
from trainers.data.parts.phrases.catalog import DescribedRecord
from trainers.data.parts.phrases.record_phrases import RecordPhrase, is_there
from trainers.evaluation.pictures import drawing
from trainers.evaluation.pictures.heat_pictures import heat_picture
from trainers.tasks.grounding.evaluators.judged_phrases import GroundedPhrase, JudgedPhrase


def phrase_picture(
    video: np.ndarray,
    found: GroundedPhrase,
    judged: JudgedPhrase,
    described: DescribedRecord,
    phrase: RecordPhrase,
    levels: Sequence[str],
) -> np.ndarray:
    """The frame in which a phrase was found, plain and under the phrase's heat, with its boxes and
    the point; below it the phrase, the levels that its words chose, and whether it is right.

    Args:
        video: float32[frames, height, width, 3] in [-1, 1].
        found, judged: of the phrase.
        described, phrase: its record, and what it is.
        levels: names of the model's levels.

    Returns:
        uint8[picture height, picture width, 3].
    """
    picture = video[found.frame]
    boxes = described.boxes(phrase)[found.frame]
    heat, point = found.heat_map, None
    if heat.any():
        size = picture.shape[:2]
        place = first_maximum(enlarge(heat, *size))
        point = [(pixel + 0.5) / pixels for pixel, pixels in zip(place, size, strict=True)]
    shown = heat_picture(picture, heat, boxes_yxyx_norm=boxes[is_there(boxes)], point=point)
    chosen = Counter(levels[level] for level in judged.levels)
    lines = [phrase.text]
    if phrase.sentence != phrase.text:
        lines.append(f"in: {phrase.sentence}")
    if len(video) > 1:
        lines.append(f"frame {found.frame + 1} of {len(video)}")
    levels_line = ", ".join(f"{name} {count}" for name, count in chosen.most_common()) or "none"
    lines.append(f"score {judged.score:.3f}, levels: {levels_line}")
    return drawing.judged(shown, lines, is_right=judged.is_hit)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Such pictures one below the other, under what their marks mean."""
    legend = drawing.judgement_legend("the hottest pixel is in a box", "it is in none")
    return drawing.stack([legend, *pictures])
