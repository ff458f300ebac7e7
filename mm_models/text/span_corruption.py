"""Span corruption: spans of tokens give way to sentinels, and the target spells them out.

Batched, with static shapes, in the graph. The numbers of corrupted tokens and spans follow from a
sequence's length alone, so they are tables; only the places of the spans are drawn.

Source: T5, section 3.1.4, and its preprocessors.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from mm_models.text.row_draws import fold_rows, row_bits
from mm_models.text.sentence_pieces import END_ID
from mm_models.text.sentinels import sentinel_id


@dataclasses.dataclass(frozen=True)
class SpanCorruption:
    """How much is corrupted.

    Attributes:
        noise_density: share of the tokens that are taken out.
        mean_span_length: mean number of tokens of a span.
    """

    noise_density: float = 0.15
    mean_span_length: float = 3.0

    def counts(self, lengths: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """Corrupted tokens and spans of sequences of `lengths` tokens: int32[...] each.

        At least one token stays and one goes, except where there is none to take; halves round to
        the even number.
        """
        # float32 and at least two tokens, as the original, so that halves fall where they do there.
        lengths = np.maximum(np.asarray(lengths), 2)
        noise = np.round(lengths.astype(np.float32) * np.float32(self.noise_density))
        noise = np.clip(noise, 1, lengths - 1)
        spans = np.round(noise.astype(np.float32) / np.float32(self.mean_span_length))
        return noise.astype(np.int32), np.maximum(spans, 1).astype(np.int32)

    def sizes(self, lengths: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of inputs and targets, ends included, that `lengths` tokens become."""
        noise, spans = self.counts(lengths)
        return np.asarray(lengths) - noise + spans + 1, noise + spans + 1

    def longest(self, num_inputs: int, num_targets: int) -> int:
        """Most tokens whose inputs and targets fit."""
        lengths = np.arange(2 * num_inputs + 2)
        inputs, targets = self.sizes(lengths)
        return int(np.flatnonzero((inputs <= num_inputs) & (targets <= num_targets)).max())


@functools.lru_cache(maxsize=32)
def _tables(corruption: SpanCorruption, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    return corruption.counts(np.arange(max_length + 1))


def segment_lengths(
    num_items: tf.Tensor, num_segments: tf.Tensor, max_items: int, seeds: tf.Tensor
) -> tf.Tensor:
    """Cuts `num_items` into segments of at least one item, every way equally likely.

    Args:
        num_items: int32[batch], at most `max_items`.
        num_segments: int32[batch], at most `num_items`.
        max_items: static bound.
        seeds: int32[batch, 2].

    Returns:
        int32[batch, max_items] lengths in order; zeros behind the last segment.
    """
    # The first item starts a segment; which of the others do is a random choice of their number.
    keys = tf.bitcast(tf.bitwise.right_shift(row_bits(seeds, max_items), 1), tf.int32)
    places = tf.range(max_items)
    among = tf.logical_and(places > 0, places < num_items[:, tf.newaxis])
    keys = tf.where(among, keys, tf.constant(2**31 - 1, tf.int32))
    ranks = tf.argsort(tf.argsort(keys, axis=1, stable=True), axis=1)
    starts = tf.logical_and(among, ranks < num_segments[:, tf.newaxis] - 1)
    numbers = tf.cumsum(tf.cast(starts, tf.int32), axis=1)
    inside = places < num_items[:, tf.newaxis]
    return _count_at(numbers, inside, max_items)


def mask_of_segments(kept: tf.Tensor, noise: tf.Tensor, max_length: int) -> tf.Tensor:
    """The mask whose segments alternate, beginning with a kept one.

    Args:
        kept, noise: int32[batch, segments] lengths, zero where there are no more.
        max_length: length of the mask.

    Returns:
        bool[batch, max_length], true for corrupted tokens.
    """
    batch = tf.shape(kept)[0]
    lengths = tf.reshape(tf.stack([kept, noise], axis=2), [batch, -1])
    ends = tf.cumsum(lengths, axis=1)
    # Segments that ended before a place; two of them are a kept one and a corrupted one.
    passed = _count_at(ends, lengths > 0, max_length + 1)[:, :max_length]
    return tf.cumsum(passed, axis=1) % 2 == 1


def noise_mask(
    lengths: tf.Tensor,
    max_length: int,
    seeds: tf.Tensor,
    corruption: SpanCorruption = SpanCorruption(),
) -> tf.Tensor:
    """Which tokens to corrupt: bool[batch, max_length], false from each length on.

    Args:
        lengths: int32[batch] tokens, at most `max_length`.
        max_length: static bound.
        seeds: int32[batch, 2].
        corruption: how much.
    """
    bound = max(max_length, 2)
    noise_of, spans_of = _tables(corruption, bound)
    noise, spans = tf.gather(noise_of, lengths), tf.gather(spans_of, lengths)
    items = tf.maximum(lengths, 2)
    kept = segment_lengths(items - noise, spans, bound, fold_rows(seeds, 1))
    taken = segment_lengths(noise, spans, bound, fold_rows(seeds, 2))
    mask = mask_of_segments(kept, taken, bound)[:, :max_length]
    return tf.logical_and(mask, tf.range(max_length) < lengths[:, tf.newaxis])


def corrupt(
    ids: tf.Tensor, lengths: tf.Tensor, mask: tf.Tensor, vocabulary_size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Inputs and targets of masked sequences, both closed by the end id.

    In the inputs each run of masked tokens becomes the next sentinel; in the targets each run of
    the others does, so that a target reads sentinel, span, sentinel, span.

    Args:
        ids: int32[batch, tokens].
        lengths: int32[batch] tokens in use.
        mask: bool[batch, tokens], true for corrupted tokens.
        vocabulary_size: of the model; sentinels count down from the last id.

    Returns:
        int32[batch, tokens + 1] each, zeros behind the end.
    """
    inside = tf.range(ids.shape[1]) < lengths[:, tf.newaxis]
    inputs = _with_sentinels(ids, inside, tf.logical_and(mask, inside), vocabulary_size)
    others = tf.logical_and(tf.logical_not(mask), inside)
    return inputs, _with_sentinels(ids, inside, others, vocabulary_size)


def _with_sentinels(
    ids: tf.Tensor, inside: tf.Tensor, replaced: tf.Tensor, vocabulary_size: int
) -> tf.Tensor:
    """Replaces every run of `replaced` tokens by a sentinel and appends the end."""
    before = tf.pad(replaced, [[0, 0], [1, 0]])[:, :-1]
    starts = tf.logical_and(replaced, tf.logical_not(before))
    number = tf.cumsum(tf.cast(starts, tf.int32), axis=1) - 1
    tokens = tf.where(starts, sentinel_id(vocabulary_size, number), ids)
    kept = tf.logical_and(inside, tf.logical_or(starts, tf.logical_not(replaced)))
    tokens = tf.pad(tokens, [[0, 0], [0, 1]], constant_values=END_ID)
    kept = tf.pad(kept, [[0, 0], [0, 1]], constant_values=True)
    return compact(tokens, kept, tokens.shape[1])


def compact(values: tf.Tensor, kept: tf.Tensor, width: int) -> tf.Tensor:
    """Moves the kept values of each row to its left; what is beyond `width` is dropped.

    Args:
        values: int32[batch, places].
        kept: bool[batch, places].
        width: places of the result.

    Returns:
        int32[batch, width], zeros behind the kept values.
    """
    place = tf.cumsum(tf.cast(kept, tf.int32), axis=1) - 1
    # One place more takes what is dropped.
    place = tf.where(kept, tf.minimum(place, width), width)
    return _scatter(place, values, width + 1)[:, :width]


def _count_at(places: tf.Tensor, counted: tf.Tensor, width: int) -> tf.Tensor:
    """int32[batch, width]: how many counted entries of each row name each place."""
    places = tf.where(counted, tf.minimum(places, width), width)
    return _scatter(places, tf.ones_like(places), width + 1)[:, :width]


def _scatter(places: tf.Tensor, values: tf.Tensor, width: int) -> tf.Tensor:
    batch = tf.shape(places)[0]
    rows = tf.broadcast_to(tf.range(batch)[:, tf.newaxis], tf.shape(places))
    result = tf.scatter_nd(tf.stack([rows, places], axis=2), values, tf.stack([batch, width]))
    return tf.ensure_shape(result, [places.shape[0], width])
