"""Counts of n-grams of many sentences at once, as flat arrays."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mm_models.errors import UserError

Words = Sequence[str]


class NgramCounts(NamedTuple):
    """How often each sentence holds each n-gram of one order, ordered by sentence.

    Attributes:
        sentence: int64[entries].
        gram: int64[entries], in [0, num_grams).
        count: int64[entries], at least 1.
        num_grams: different n-grams there are, or more.
    """

    sentence: np.ndarray
    gram: np.ndarray
    count: np.ndarray
    num_grams: int


def ngram_counts(sentences: Sequence[Words], max_order: int) -> Iterator[NgramCounts]:
    """Counts for orders 1 to `max_order`; n-grams do not cross the ends of sentences."""
    numbers: dict[str, int] = {}
    words = np.array(
        [numbers.setdefault(word, len(numbers)) for words in sentences for word in words], np.int64
    )
    lengths = np.array([len(words) for words in sentences], np.int64)
    sentence = np.repeat(np.arange(len(sentences)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))
    gram, num_words = words, max(1, len(numbers))
    for order in range(1, max_order + 1):
        starts = np.flatnonzero(left >= order)
        if order > 1:
            pairs = gram[starts] * num_words + words[starts + order - 1]
            gram = np.zeros_like(words)
            gram[starts] = np.unique(pairs, return_inverse=True)[1]
        num_grams = max(1, len(words))
        keys, counts = np.unique(sentence[starts] * num_grams + gram[starts], return_counts=True)
        yield NgramCounts(keys // num_grams, keys % num_grams, counts, num_grams)


def look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values of `wanted: int64[n]` among ascending `keys: int64[m]`; 0 where a key is missing."""
    if not len(keys):
        return np.zeros(len(wanted), values.dtype)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def flatten(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> tuple[list[Words], np.ndarray]:
    """All candidates and then all references as one list, and the example of each sentence.

    Args:
        candidates: one sentence an example.
        references: one or more sentences for each example.

    Returns:
        The sentences, and int64[sentences].

    Raises:
        UserError: the two differ in length, or an example has no reference.
    """
    if len(candidates) != len(references):
        raise UserError(
            f"there are {len(candidates)} captions to score but references for "
            f"{len(references)} examples; give one caption for each example"
        )
    counts = np.array([len(own) for own in references], np.int64)
    if len(counts) and not counts.min():
        raise UserError(
            f"example {int(counts.argmin())} has no reference caption to compare with; leave "
            "examples without references out"
        )
    own = np.arange(len(candidates))
    sentences = [*candidates, *(sentence for group in references for sentence in group)]
    return sentences, np.concatenate([own, np.repeat(own, counts)])
