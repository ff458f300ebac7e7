"""A contact sheet of what was found in one picture, and at which level."""

from collections.abc import Mapping

import numpy as np

from mm_models.signal.picture_overlays import with_boxes, with_heat, with_point
from trainers.tasks.grounding.contact_sheet import contact_sheet


def sheet_of(
    picture: np.ndarray,
    frame: int | None,
    phrase: str,
    answer: Mapping[str, np.ndarray],
    word_heat: np.ndarray,
    phrase_heat: np.ndarray,
    sentence_heat: np.ndarray,
    sentence_score: float,
) -> np.ndarray:
    """uint8[height, width, 3]: the picture, a map for each word, for the phrase and the sentence.

    Args:
        picture: uint8[height, width, 3].
        frame: its number in a clip; None of a still.
        phrase: what was asked.
        answer: one row of the outputs of `ground` or `ground_video`.
        word_heat: float32[words, rows, columns] at the words' best levels.
        phrase_heat, sentence_heat: float32[rows, columns].
        sentence_score: of the phrase as a sentence.
    """
    cells = [(picture, ["the picture" if frame is None else f"frame {frame}, the best"])]
    words = zip(
        answer["words"], answer["word_levels"], answer["word_scores"], word_heat, strict=True
    )
    for word, level, score, heat in words:
        if word:
            lines = [_text(word), f"{_text(level)}, score {score:.2f}"]
            cells.append((with_heat(picture, heat), lines))
    boxes = [box for box in answer["boxes"] if box[2] > box[0]]
    found = with_boxes(
        with_heat(picture, phrase_heat), np.reshape(boxes, [-1, 4]), [""] * len(boxes)
    )
    cells.append((with_point(found, answer["point"]), [phrase, f"score {answer['score']:.2f}"]))
    cells.append(
        (with_heat(picture, sentence_heat), ["as a sentence", f"score {sentence_score:.2f}"])
    )
    return contact_sheet(cells)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
