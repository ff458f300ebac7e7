"""CIDEr-D: how much of the consensus of several captions a caption shares."""

from collections.abc import Sequence

import numpy as np

from mm_models.metrics.ngrams import NgramCounts, Words, flatten, look_up, ngram_counts


def cider_d(
    candidates: Sequence[Words],
    references: Sequence[Sequence[Words]],
    *,
    max_order: int = 4,
    sigma: float = 6.0,
) -> np.ndarray:
    """CIDEr-D of each candidate; the score of a set is the mean.

    Rare n-grams count more: weights are counts times log(examples / examples whose references
    hold the n-gram), the references being those given here. So a caption's score depends on the
    others, and with a single example, or with n-grams that all examples share, it is 0. A
    candidate equal to its only reference scores 10 where each order has an n-gram that some
    other example lacks, which takes at least `max_order` words.

    Args:
        candidates: words of one caption an example.
        references: words of one or more captions for each example.
        max_order: longest n-grams.
        sigma: of the Gaussian penalty on the difference in length, in words.

    Returns:
        float64[examples] in [0, 10]. Papers print the mean times 10 (as "CIDEr 149.1" for 14.91
        here, or 1.491 on the scale of 0 to 1).

    Raises:
        UserError: an example without references.

    Source: Vedantam et al., "CIDEr", section 6.2, with the choices of the COCO caption toolkit.
    """
    sentences, example = flatten(candidates, references)
    num_examples = len(candidates)
    lengths = np.array([len(words) for words in sentences], np.float64)
    # The toolkit measures length in pairs of words: one less than the words, but 0 for none.
    lengths = np.maximum(lengths - 1.0, 0.0)
    own = example[num_examples:]
    penalty = np.exp(-((lengths[own] - lengths[num_examples:]) ** 2) / (2.0 * sigma**2))
    similarity = np.zeros(len(own))
    for counts in ngram_counts(sentences, max_order):
        similarity += _clipped_cosines(counts, example, num_examples, len(sentences))
    share = 10.0 / max_order / np.maximum(np.bincount(own, minlength=num_examples), 1)
    return np.bincount(own, similarity * penalty, minlength=num_examples) * share


def _clipped_cosines(
    counts: NgramCounts, example: np.ndarray, num_examples: int, num_sentences: int
) -> np.ndarray:
    """float64[references]: cosine of each reference's weights with its candidate's, of which
    none counts for more than the reference's own."""
    weights = counts.count * _rarity(counts, example, num_examples)[counts.gram]
    norms = np.sqrt(np.bincount(counts.sentence, weights**2, minlength=num_sentences))
    is_candidate = counts.sentence < num_examples
    keys = counts.sentence * counts.num_grams + counts.gram
    reference, gram = counts.sentence[~is_candidate], counts.gram[~is_candidate]
    theirs = weights[~is_candidate]
    wanted = example[reference] * counts.num_grams + gram
    ours = look_up(keys[is_candidate], weights[is_candidate], wanted)
    places = reference - num_examples
    num_references = num_sentences - num_examples
    dots = np.bincount(places, np.minimum(ours, theirs) * theirs, minlength=num_references)
    scale = norms[num_examples:] * norms[example[num_examples:]]
    return np.divide(dots, scale, out=np.zeros(num_references), where=scale > 0)


def _rarity(counts: NgramCounts, example: np.ndarray, num_examples: int) -> np.ndarray:
    """float64[num_grams]: log of examples per example whose references hold the n-gram."""
    in_reference = counts.sentence >= num_examples
    held = example[counts.sentence[in_reference]] * counts.num_grams + counts.gram[in_reference]
    frequency = np.bincount(np.unique(held) % counts.num_grams, minlength=counts.num_grams)
    return np.log(max(num_examples, 1)) - np.log(np.maximum(frequency, 1))
