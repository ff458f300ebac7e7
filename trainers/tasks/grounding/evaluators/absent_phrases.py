"""Phrases looked for in pictures that they are not about."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Pictures kept for phrases at the end, behind which there is no other picture.
_KEPT = 16


class SoughtPhrase(NamedTuple):
    """A phrase that waits for a picture that it is not about.

    Attributes:
        text: the phrase.
        record: id of its own record.
        words: float32[words, dim] vectors of its sentence.
        span: float32[words] 1 where the word is the phrase's.
    """

    text: str
    record: int
    words: np.ndarray
    span: np.ndarray


class Picture(NamedTuple):
    """A picture to look in.

    Attributes:
        record: its id.
        texts: of its phrases.
        regions: float32[frames, regions, levels, dim].
    """

    record: int
    texts: frozenset[str]
    regions: np.ndarray


# Scores of words: float[pairs, words, frames] of the best level, of float32[pairs, words, dim] and
# float32[pairs, frames, regions, levels, dim].
ScoreWords = Callable[[np.ndarray, np.ndarray], np.ndarray]


class AbsentPhrases:
    """Scores each phrase with the next record in which no phrase has the same text.

    Behind the last record the first ones follow.
    """

    def __init__(self, score_words: ScoreWords, batch_size: int):
        """Takes what scores `batch_size` pairs."""
        self._score_words = score_words
        self._batch_size = batch_size
        self._waiting: list[SoughtPhrase] = []
        self._first: list[Picture] = []
        self._pairs: list[tuple[SoughtPhrase, Picture]] = []
        self._scores: list[float] = []

    def look_in(self, picture: Picture) -> None:
        """Takes the next record's picture, for the phrases that wait."""
        if len(self._first) < _KEPT:
            self._first.append(picture)
        self._pair_with(picture)

    def _pair_with(self, picture: Picture) -> None:
        waiting, self._waiting = self._waiting, []
        for sought in waiting:
            self._pair(sought, picture)

    def add(self, sought: SoughtPhrase) -> None:
        """Takes a phrase, of which a picture behind its own one is waited for."""
        self._waiting.append(sought)

    def finish(self) -> tuple[np.ndarray, int]:
        """float64[pairs] scores of the phrases, in no order, and how many found no picture."""
        for picture in self._first:
            self._pair_with(picture)
        while self._pairs:
            self._run()
        return np.array(self._scores), len(self._waiting)

    def _pair(self, sought: SoughtPhrase, picture: Picture) -> None:
        if sought.record == picture.record or sought.text in picture.texts:
            self._waiting.append(sought)
            return
        self._pairs.append((sought, picture))
        if len(self._pairs) == self._batch_size:
            self._run()

    def _run(self) -> None:
        """Scores the pairs that are there, as a batch of the one size."""
        count = len(self._pairs)
        pairs = [self._pairs[number % count] for number in range(self._batch_size)]
        scores = self._score_words(
            np.stack([sought.words for sought, _ in pairs]),
            np.stack([picture.regions for _, picture in pairs]),
        )
        spans = (sought.span for sought, _ in self._pairs)
        self._scores += [
            phrase_score(each, span) for each, span in zip(scores[:count], spans, strict=True)
        ]
        self._pairs = []


def phrase_score(scores: np.ndarray, span: np.ndarray) -> float:
    """The highest of any frame: means over the phrase's words of float[words, frames]."""
    words = np.asarray(scores, np.float64)[np.asarray(span) > 0]
    return float(words.mean(axis=0).max()) if len(words) else 0.0
