"""Sentences and pictures of a global batch told apart, in both directions."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from mm_models.grounding import pairwise

_NOT_THERE = -1e9


class MatchingTerms(NamedTuple):
    """A matching loss before reduction; over all replicas, sum(loss) / sum(weight) is the loss.

    Attributes:
        loss: float32[] sum of both directions.
        weight: float32[] this replica's pairs.
        own: float32[batch] scores of the pairs.
        scores: float32[batch, sentences of all replicas], far below 0 where one does not count.
    """

    loss: tf.Tensor
    weight: tf.Tensor
    own: tf.Tensor
    scores: tf.Tensor


def matching_terms(
    words: tf.Tensor,
    word_mask: tf.Tensor,
    regions: tf.Tensor,
    valid: tf.Tensor,
    *,
    sharpness: float,
    scale: float,
    images_per_chunk: int,
    gather: Callable[[tf.Tensor], tf.Tensor],
) -> MatchingTerms:
    """Cross-entropy of each picture's sentence among all sentences, and of each sentence's picture.

    Sentences travel between the replicas, pictures stay where they are: of a sentence's normaliser
    over all pictures every replica knows the part of its own.

    Args:
        words: float32[batch, words, dim] unit vectors; a sentence as a whole is one of them.
        word_mask: float32[batch, words] 1 for real words.
        regions: float32[batch, regions, levels, dim] unit vectors.
        valid: float32[batch] 1 for rows with a sentence and a picture.
        sharpness: see `pairwise.sentence_scores`.
        scale: scores are multiplied by it before the softmax.
        images_per_chunk: see `pairwise.all_scores`.
        gather: differentiable all-gather over the batch axis; identity on one device.

    Source: Akbari and others, section 3.
    """
    own = scale * pairwise.own_scores(words, word_mask, regions, sharpness=sharpness)
    everyone = gather(words), gather(word_mask), gather(valid)
    # [pictures of this replica, sentences of all]
    scores = scale * pairwise.all_scores(
        everyone[0],
        everyone[1],
        regions,
        sharpness=sharpness,
        images_per_chunk=images_per_chunk,
    )
    scores += (1.0 - everyone[2])[tf.newaxis] * _NOT_THERE
    of_pictures = tf.reduce_logsumexp(scores, axis=1) - own
    there = scores + (1.0 - valid)[:, tf.newaxis] * _NOT_THERE
    # [replicas, sentences of all]
    parts = gather(tf.reduce_logsumexp(there, axis=0, keepdims=True))
    normalizers = tf.reduce_logsumexp(parts, axis=0)
    num_replicas = tf.cast(tf.shape(parts)[0], tf.float32)
    # Every replica knows the normaliser of every sentence, of which it counts its share.
    of_sentences = _sum_where(everyone[2], normalizers) / num_replicas - _sum_where(valid, own)
    loss = _sum_where(valid, of_pictures) + of_sentences
    return MatchingTerms(loss, tf.reduce_sum(valid), own, scores)


def _sum_where(valid: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The sum over valid rows; a where, since what a masked row computes may be far out."""
    return tf.reduce_sum(tf.where(valid > 0.0, values, tf.zeros_like(values)))
