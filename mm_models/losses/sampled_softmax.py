"""Cross-entropy over a sample of a large vocabulary."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.tokens.word_embedding import look_up


class Candidates(NamedTuple):
    """Ids that stand for a vocabulary.

    Attributes:
        ids: int32[candidates], all different.
        log_inclusion: float32[candidates] log of how probable it was that an id is among them; 0
            where all are.
    """

    ids: tf.Tensor
    log_inclusion: tf.Tensor


def draw_candidates(vocabulary_size: int, num_candidates: int, seed: tf.Tensor) -> Candidates:
    """Draws ids without putting any back, frequent ones of a sorted vocabulary more often.

    Every id waits a time from an exponential distribution whose rate is its share of a log-uniform
    distribution; those that come first are taken. Given when the next one comes, an id is among
    them with probability 1 - exp(-rate * time), by which sums over the sample are made sums over
    all without bias. A sample of all is the vocabulary itself.

    Args:
        vocabulary_size: ids are in [0, vocabulary_size), most frequent first.
        num_candidates: at most `vocabulary_size`.
        seed: int32[2].

    Source: Cohen and Kaplan, Summarizing data using bottom-k sketches, 2007 (exponential ranks);
    shares as in TensorFlow's `log_uniform_candidate_sampler`.
    """
    if num_candidates == vocabulary_size:
        return Candidates(tf.range(vocabulary_size), tf.zeros([vocabulary_size]))
    ranks = tf.range(vocabulary_size, dtype=tf.float32)
    rates = tf.math.log1p(1.0 / (ranks + 1.0)) / tf.math.log(vocabulary_size + 1.0)
    # Never 0, whose logarithm is none.
    even = randomness.uniform([vocabulary_size], seed) + 2.0**-25
    waits = -tf.math.log(even) / rates
    first, ids = tf.math.top_k(-waits, num_candidates + 1)
    inclusion = -tf.math.expm1(tf.gather(rates, ids[:-1]) * first[-1])
    return Candidates(ids[:-1], tf.math.log(inclusion))


def sampled_cross_entropy(
    hidden: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    targets: tf.Tensor,
    candidates: Candidates,
) -> tf.Tensor:
    """Cross-entropy whose normaliser is estimated from the target and the candidates.

    The normaliser is right on average; with all of the vocabulary as candidates the result is the
    cross-entropy itself.

    Args:
        hidden: float[batch, tokens, width].
        kernel: float32[vocabulary, width].
        bias: float32[vocabulary].
        targets: int32[batch, tokens].
        candidates: ids of the vocabulary.

    Returns:
        float32[batch, tokens].

    Source: Jean and others, On using very large target vocabulary for neural machine translation.
    """
    hidden = tf.cast(hidden, tf.float32)
    ids, column = candidates.ids, bias[:, tf.newaxis]
    of_target = tf.reduce_sum(hidden * look_up(kernel, targets), axis=-1)
    of_target += look_up(column, targets)[..., 0]
    # [batch, tokens, candidates]
    others = tf.einsum("btw,cw->btc", hidden, look_up(kernel, ids))
    others += look_up(column, ids)[:, 0] - candidates.log_inclusion
    is_target = targets[..., tf.newaxis] == ids
    others = tf.where(is_target, others.dtype.min, others)
    every = tf.concat([of_target[..., tf.newaxis], others], axis=-1)
    return tf.reduce_logsumexp(every, axis=-1) - of_target
