"""Which picture each phrase is looked for in that it is not about."""

import numpy as np

from trainers.tasks.grounding.evaluators.absent_phrases import (
    AbsentPhrases,
    Picture,
    SoughtPhrase,
    phrase_score,
)


def _sought(text: str, record: int) -> SoughtPhrase:
    """Its first word's vector is the number of its record; the second word is not its own."""
    return SoughtPhrase(text, record, np.array([[record], [100]], np.float32), np.array([1.0, 0]))


def _picture(record: int, *texts: str) -> Picture:
    return Picture(record, frozenset(texts), np.full((1, 1, 1, 1), record, np.float32))


class Scores:
    """Scores tell the pair: ten times the phrase's record and the picture's."""

    def __init__(self):
        self.sizes = []

    def __call__(self, words: np.ndarray, regions: np.ndarray) -> np.ndarray:
        self.sizes.append((len(words), len(regions)))
        return 10 * words[:, :, 0, None] + regions[:, None, :, 0, 0, 0]


def _pairs(texts: list[list[str]], batch_size: int = 2) -> tuple[list[float], int, Scores]:
    scores = Scores()
    absent = AbsentPhrases(scores, batch_size)
    for record, own in enumerate(texts, 1):
        absent.look_in(_picture(record, *own))
        for text in own:
            absent.add(_sought(text, record))
    found, unpaired = absent.finish()
    return sorted(found.tolist()), unpaired, scores


def test_the_next_picture_without_the_text_is_taken_and_the_first_ones_follow_the_last():
    found, unpaired, scores = _pairs([["cat", "dog"], ["cat"], ["dog"], ["cat"]])
    # The cat of 1 is not looked for in 2, the dog of 1 is; that of 3 in 4, the cat of 4 in 3, which
    # is the first one without a cat behind the end.
    assert found == [12, 13, 23, 34, 43] and unpaired == 0
    # Every run has the one size, whatever is left for the last one.
    assert scores.sizes == [(2, 2)] * 3


def test_what_every_picture_has_is_looked_for_in_none():
    found, unpaired, _ = _pairs([["cat"], ["cat", "dog"], ["cat"]])
    assert found == [23] and unpaired == 3
    assert _pairs([["cat"]])[:2] == ([], 1)


def test_the_best_frame_of_the_mean_word_counts():
    scores = np.array([[0.2, 0.6], [0.8, 0.2], [9.0, 9.0]])
    assert phrase_score(scores, np.array([1, 1, 0])) == 0.5
    assert phrase_score(scores, np.zeros(3)) == 0.0
