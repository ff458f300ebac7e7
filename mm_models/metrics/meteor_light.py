"""METEOR without its dictionaries: words match where they are equal or have one stem."""

from collections.abc import Sequence

import numpy as np

from mm_models.metrics.ngrams import Words, flatten
from mm_models.metrics.porter import porter_stem

ALPHA, BETA, GAMMA = 0.85, 0.2, 0.6
STEM_WEIGHT = 0.6
_BEAM = 40
_NO_MATCH = -2


def meteor_light(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]], *, stems: bool = True
) -> np.ndarray:
    """METEOR of exact and stem matches alone; the score of a set is the mean.

    It has the formula and the English parameters of METEOR 1.5, but neither its synonyms and
    paraphrases, nor its list of function words, which count less there. A caption in other words
    for the same scores lower than METEOR gives it; one that shares little but words such as `a`,
    `on` and `the` scores higher. So neither is a bound of the other, nor may the two stand in one
    table. The score of an example is its best over the references.

    Args:
        candidates: words of one caption an example.
        references: words of one or more captions for each example.
        stems: match English words of one Porter stem too, at 0.6 of an exact match.

    Returns:
        float64[examples] in [0, 1]; 1 for a candidate equal to a reference.

    Raises:
        UserError: an example without references.

    Source: Denkowski and Lavie, "Meteor Universal".
    """
    flatten(candidates, references)
    return np.array(
        [
            max(pair_score(candidate, words, stems=stems) for words in own)
            for candidate, own in zip(candidates, references, strict=True)
        ],
        np.float64,
    )


def pair_score(candidate: Words, reference: Words, *, stems: bool = True) -> float:
    """Score of one candidate against one reference."""
    if not candidate or not reference:
        return 0.0
    if list(candidate) == list(reference):
        return 1.0
    matches, chunks, weight = align(_options(candidate, reference, stems))
    if not matches:
        return 0.0
    precision, recall = weight / len(candidate), weight / len(reference)
    mean = precision * recall / (ALPHA * precision + (1.0 - ALPHA) * recall)
    whole = chunks == 1 and matches == len(candidate) == len(reference)
    penalty = 0.0 if whole else GAMMA * (chunks / matches) ** BETA
    return (1.0 - penalty) * mean


def align(options: Sequence[dict[int, float]]) -> tuple[int, int, float]:
    """The best one-to-one matching: most words, then fewest chunks, then least displacement.

    Args:
        options: for each candidate word, the weight of matching each reference position it may.

    Returns:
        Matched words, chunks (runs that are adjacent and in order on both sides), and the sum of
        the matches' weights.
    """
    contested = _contested(options)
    # (positions used, last matched position) -> (matches, -chunks, -displacement, weight)
    states = {(0, _NO_MATCH): (0, 0, 0, 0.0)}
    for place, choices in enumerate(options):
        following: dict[tuple[int, int], tuple] = {}
        for (used, last), value in states.items():
            free = [position for position in choices if not used >> position & 1]
            if not free or any(position in contested for position in free):
                _keep_best(following, (used, _NO_MATCH), value)
            for position in free:
                matches, chunks, displacement, weight = value
                new = (
                    matches + 1,
                    chunks - (position != last + 1),
                    displacement - abs(position - place),
                    weight + choices[position],
                )
                _keep_best(following, (used | 1 << position, position), new)
        best = sorted(following.items(), key=lambda item: item[1], reverse=True)[:_BEAM]
        states = dict(best)
    matches, chunks, _, weight = max(states.values())
    return matches, -chunks, weight


def _keep_best(states: dict, key: tuple[int, int], value: tuple) -> None:
    if key not in states or states[key] < value:
        states[key] = value


def _options(candidate: Words, reference: Words, stems: bool) -> list[dict[int, float]]:
    roots = [porter_stem(word) if stems else word for word in reference]
    found = []
    for word in candidate:
        root = porter_stem(word) if stems else word
        found.append(
            {
                position: 1.0 if word == other else STEM_WEIGHT
                for position, other in enumerate(reference)
                if word == other or root == roots[position]
            }
        )
    return found


def _contested(options: Sequence[dict[int, float]]) -> set[int]:
    """Reference positions that several candidate words may match."""
    seen: set[int] = set()
    twice: set[int] = set()
    for choices in options:
        twice |= seen & choices.keys()
        seen |= choices.keys()
    return twice
