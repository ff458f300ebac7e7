"""How well partners find each other within a batch."""

import tensorflow as tf

from mm_models.losses.term import Term
from trainers.tasks.terms import Gather

# Scores nearer to each other than this are ties; they differ by rounding only.
TIE_TOLERANCE = 1e-5


def in_batch_accuracy(
    anchors: tf.Tensor,
    candidates: tf.Tensor,
    mask: tf.Tensor,
    candidate_mask: tf.Tensor | None,
    gather: Gather,
) -> Term:
    """How often the row's own best candidate beats every other row's in the global batch.

    Args:
        anchors: float[batch, dim].
        candidates: float[batch, candidates, dim].
        mask: float32[batch] rows that count, as queries and as gallery.
        candidate_mask: float32[batch, candidates], or None for all.
        gather: all-gather over the batch axis.

    Returns:
        Term(sum of credits, number of rows that count).
    """
    anchors = tf.math.l2_normalize(tf.cast(tf.stop_gradient(anchors), tf.float32), axis=-1)
    candidates = tf.math.l2_normalize(tf.cast(tf.stop_gradient(candidates), tf.float32), axis=-1)
    each = tf.ones_like(candidates[:, :, 0]) if candidate_mask is None else candidate_mask
    each *= mask[:, None]
    mask *= tf.reduce_max(each, axis=1)
    own = tf.reduce_max(tf.einsum("bd,bcd->bc", anchors, candidates) - 3.0 * (1.0 - each), axis=1)
    scores = tf.einsum("bd,acd->bac", anchors, gather(candidates))
    best = tf.reduce_max(scores - 3.0 * (1.0 - gather(each))[None], axis=2)
    return accuracy_of_scores(own, best, mask)


def accuracy_of_scores(own: tf.Tensor, scores: tf.Tensor, mask: tf.Tensor) -> Term:
    """How often the own score is the best; those that tie with it share the credit.

    Args:
        own: float32[batch].
        scores: float32[batch, rows of all replicas], the own ones among them; far below all others
            where a row does not count.
        mask: float32[batch] rows that count.

    Returns:
        Term(sum of credits, number of rows that count).
    """
    better = tf.reduce_sum(tf.cast(scores > own[:, None] + TIE_TOLERANCE, tf.float32), axis=1)
    near = tf.abs(scores - own[:, None]) <= TIE_TOLERANCE
    ties = tf.reduce_sum(tf.cast(near, tf.float32), axis=1)
    credit = tf.cast(better == 0, tf.float32) / tf.maximum(ties, 1.0)
    return Term(tf.reduce_sum(credit * mask), tf.reduce_sum(mask))
