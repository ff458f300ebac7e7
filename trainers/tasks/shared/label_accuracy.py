"""How often a classifier is right."""

import tensorflow as tf

from mm_models.losses.term import Term


def label_accuracy(logits: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> Term:
    """How often the highest score has the highest target.

    Args:
        logits, targets: float[batch, classes].
        mask: float32[batch] rows that count.
    """
    best = tf.argmax(logits, axis=1, output_type=tf.int32)
    right = tf.gather(targets, best, axis=1, batch_dims=1) >= tf.reduce_max(targets, axis=1)
    return Term(tf.reduce_sum(tf.cast(right, tf.float32) * mask), tf.reduce_sum(mask))
