"""ROUGE-L: the longest common subsequence of two captions."""

from collections.abc import Sequence

import numpy as np

from mm_models.metrics.ngrams import Words, flatten

BETA = 1.2


def rouge_l(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]], *, beta: float = BETA
) -> np.ndarray:
    """ROUGE-L of each candidate; the score of a set is the mean.

    Precision and recall are each the highest over the references, taken separately.

    Args:
        candidates: words of one caption an example.
        references: words of one or more captions for each example.
        beta: weight of recall against precision.

    Returns:
        float64[examples] in [0, 1].

    Raises:
        UserError: an example without references.

    Source: Lin, "ROUGE", with the choices of the COCO caption toolkit.
    """
    flatten(candidates, references)
    scores = np.zeros(len(candidates))
    for row, (candidate, own) in enumerate(zip(candidates, references, strict=True)):
        common = [longest_common_subsequence(candidate, words) for words in own]
        precision = max(common) / max(len(candidate), 1)
        recall = max(c / max(len(words), 1) for c, words in zip(common, own, strict=True))
        if precision and recall:
            scores[row] = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    return scores


def longest_common_subsequence(first: Words, second: Words) -> int:
    """Words of the longest sequence that both hold in order, with gaps.

    The columns of the usual table are the bits of one integer, so that a row costs a few
    operations (Hyyrö, "Bit-parallel LCS-length computation revisited").
    """
    places: dict[str, int] = {}
    for position, word in enumerate(first):
        places[word] = places.get(word, 0) | (1 << position)
    all_bits = (1 << len(first)) - 1
    unmatched = all_bits
    for word in second:
        hits = unmatched & places.get(word, 0)
        unmatched = ((unmatched + hits) | (unmatched - hits)) & all_bits
    return len(first) - unmatched.bit_count()
