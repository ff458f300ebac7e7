"""Maps of words at their best levels, and of phrases from those of their words."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.contracts import GroundedVectors

# Share of the largest value by which others count as equal to it, so that rounding decides nothing.
_ROUNDING = 1e-5


class WordMaps(NamedTuple):
    """Words, each at the level where its score is best.

    Attributes:
        heat: float32[batch, words, frames, rows, columns], at least 0.
        scores: float32[batch, words, frames] in [0, 1].
        levels: int32[batch, words, frames]; of equal ones the first.
    """

    heat: tf.Tensor
    scores: tf.Tensor
    levels: tf.Tensor


class PhraseMaps(NamedTuple):
    """Phrases, or sentences, in pictures.

    Attributes:
        heat: float32[batch, frames, rows, columns], at least 0; 0 where no word has a score.
        scores: float32[batch, frames] in [0, 1].
    """

    heat: tf.Tensor
    scores: tf.Tensor


def word_maps(grounded: GroundedVectors) -> WordMaps:
    """The best level of each word in each frame.

    Source: Akbari and others (CVPR 2019), section 3.
    """
    levels = tf.argmax(grounded.scores, axis=-1, output_type=tf.int32)
    return WordMaps(
        # Levels stand behind rows and columns.
        tf.gather(tf.transpose(grounded.heat, [0, 1, 2, 5, 3, 4]), levels, batch_dims=3),
        tf.gather(grounded.scores, levels, batch_dims=3),
        levels,
    )


def phrase_maps(words: WordMaps, mask: tf.Tensor) -> PhraseMaps:
    """The mean of the maps of a phrase's words, weighted by their scores, and the mean score.

    Args:
        words: of the sentence that the phrase stands in.
        mask: float32[batch, words] 1 for the phrase's own words; a phrase without any has no heat.

    Source: Akbari and others (CVPR 2019), section 4.
    """
    weights = words.scores * mask[:, :, tf.newaxis]
    total = tf.reduce_sum(weights, axis=1)  # [batch, frames]
    shares = tf.math.divide_no_nan(weights, total[:, tf.newaxis])
    count = tf.reduce_sum(mask, axis=1, keepdims=True)
    heat = tf.einsum("btf,btfrc->bfrc", shares, words.heat)
    return PhraseMaps(heat, tf.math.divide_no_nan(total, count))


def sentence_maps(grounded: GroundedVectors) -> PhraseMaps:
    """The same of sentences, each of which was grounded as the only word of its row."""
    best = word_maps(grounded)
    return PhraseMaps(best.heat[:, 0], best.scores[:, 0])


def hottest_points(heat: tf.Tensor) -> tf.Tensor:
    """int32[..., 2]: row and column where float32[..., rows, columns] is largest, the first in
    raster order of several."""
    columns = heat.shape[-1]
    flat = tf.reshape(heat, tf.concat([tf.shape(heat)[:-2], [heat.shape[-2] * columns]], axis=0))
    place = first_largest(flat)
    return tf.stack([place // columns, place % columns], axis=-1)


def first_largest(values: tf.Tensor) -> tf.Tensor:
    """int32[...]: place of the first of the largest of float32[..., places]."""
    largest = tf.reduce_max(values, axis=-1, keepdims=True)
    is_largest = values >= largest - _ROUNDING * tf.abs(largest)
    return tf.argmax(tf.cast(is_largest, tf.int32), axis=-1, output_type=tf.int32)
