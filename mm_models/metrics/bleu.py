"""BLEU of a whole set of captions."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mm_models.metrics.ngrams import NgramCounts, Words, flatten, look_up, ngram_counts

_TINY, _SMALL = 1e-15, 1e-9


@dataclasses.dataclass(frozen=True)
class Bleu:
    """BLEU-1 to BLEU-4.

    Attributes:
        corpus: float64[orders] of all captions together: matches and lengths are added up first.
        per_example: float64[examples, orders] of each caption alone.
        standard_errors: float64[orders] of `corpus`, from leaving out one example at a time.
    """

    corpus: np.ndarray
    per_example: np.ndarray
    standard_errors: np.ndarray


def bleu(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]], *, max_order: int = 4
) -> Bleu:
    """BLEU up to `max_order`.

    An n-gram counts as often as in the reference that has it most. The length compared with is
    the nearest of the references, the shorter of two equally near. Constants of 1e-15 and 1e-9
    keep it from dividing by nothing.

    Args:
        candidates: words of one caption an example.
        references: words of one or more captions for each example.
        max_order: longest n-grams.

    Raises:
        UserError: an example without references.

    Source: Papineni et al., "BLEU", with the choices of the COCO caption toolkit.
    """
    count = len(candidates)
    statistics = _statistics(candidates, references, max_order)
    total = statistics.by_group(np.zeros(count, np.int64), 1)
    without = (total - statistics).scores()
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0) if count else np.zeros(max_order)
    return Bleu(
        corpus=total.scores()[0],
        per_example=statistics.scores(),
        standard_errors=np.sqrt(spread * max(count - 1, 0) / max(count, 1)),
    )


def bleu_by_group(
    candidates: Sequence[Words],
    references: Sequence[Sequence[Words]],
    groups: np.ndarray,
    *,
    max_order: int = 4,
) -> np.ndarray:
    """float64[groups, orders]: BLEU of all captions of each group together.

    Args:
        candidates, references: as in `bleu`.
        groups: int64[examples], from 0.
        max_order: longest n-grams.
    """
    statistics = _statistics(candidates, references, max_order)
    return statistics.by_group(groups, int(groups.max(initial=-1)) + 1).scores()


@dataclasses.dataclass(frozen=True)
class _Statistics:
    """Sums that BLEU is made of, one row a set of captions."""

    matches: np.ndarray
    guesses: np.ndarray
    lengths: np.ndarray
    nearest: np.ndarray

    def by_group(self, groups: np.ndarray, num_groups: int) -> "_Statistics":
        """The sums of each group of rows, `groups: int64[rows]`."""

        def added_up(part: np.ndarray) -> np.ndarray:
            sums = np.zeros((num_groups, part.shape[1]))
            np.add.at(sums, groups, part)
            return sums

        return _Statistics(*map(added_up, self._parts()))

    def __sub__(self, other: "_Statistics") -> "_Statistics":
        return _Statistics(*(a - b for a, b in zip(self._parts(), other._parts(), strict=True)))

    def _parts(self):
        return self.matches, self.guesses, self.lengths, self.nearest

    def scores(self) -> np.ndarray:
        """float64[rows, orders]."""
        precision = (self.matches + _TINY) / (self.guesses + _SMALL)
        orders = np.arange(1, precision.shape[1] + 1)
        mean = np.exp(np.cumsum(np.log(precision), axis=1) / orders)
        ratio = (self.lengths + _TINY) / (self.nearest + _SMALL)
        return mean * np.exp(np.minimum(1.0 - 1.0 / ratio, 0.0))


def _statistics(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]], max_order: int
) -> _Statistics:
    """One row a caption."""
    sentences, example = flatten(candidates, references)
    count = len(candidates)
    lengths = np.array([len(words) for words in sentences], np.float64)
    matches = [_matches(counts, example, count) for counts in ngram_counts(sentences, max_order)]
    return _Statistics(
        matches=np.array(matches).reshape(max_order, count).T,
        guesses=np.maximum(lengths[:count, None] - np.arange(max_order), 0.0),
        lengths=lengths[:count, None],
        nearest=_nearest_lengths(lengths, example, count)[:, None],
    )


def _matches(counts: NgramCounts, example: np.ndarray, num_examples: int) -> np.ndarray:
    """float64[examples]: n-grams of the candidate that a reference has as often."""
    is_candidate = counts.sentence < num_examples
    keys = example[counts.sentence] * counts.num_grams + counts.gram
    grams, where = np.unique(keys[~is_candidate], return_inverse=True)
    most = np.zeros(len(grams), np.int64)
    np.maximum.at(most, where, counts.count[~is_candidate])
    allowed = look_up(grams, most, keys[is_candidate])
    clipped = np.minimum(counts.count[is_candidate], allowed)
    return np.bincount(counts.sentence[is_candidate], clipped, minlength=num_examples)


def _nearest_lengths(lengths: np.ndarray, example: np.ndarray, num_examples: int) -> np.ndarray:
    own = example[num_examples:]
    theirs = lengths[num_examples:]
    order = np.lexsort((theirs, np.abs(theirs - lengths[own]), own))
    first = np.searchsorted(own[order], np.arange(num_examples))
    return theirs[order][first] if num_examples else np.zeros(0)
