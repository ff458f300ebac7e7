"""Classification losses over one or several classes per example, with soft targets."""

import tensorflow as tf

from mm_models.losses.term import Term


def label_targets(labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    """One 1 per label.

    Args:
        labels: int32[batch, labels], padded with -1; an index beyond the classes is no label.
        num_classes: columns of the result.

    Returns:
        float32[batch, classes].
    """
    return tf.reduce_max(tf.one_hot(labels, num_classes), axis=1)


def softmax_loss(
    logits: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor, label_smoothing: float = 0.0
) -> Term:
    """Cross-entropy between one distribution per example and softmax(logits).

    Args:
        logits: float[batch, classes].
        targets: float[batch, classes] at least 0, divided by their sum; rows of zeros do not count.
        mask: float32[batch] 1 for the examples that count.
        label_smoothing: share of every target that is spread evenly over the classes.
    """
    totals = tf.reduce_sum(targets, axis=1)
    wanted = tf.math.divide_no_nan(targets, totals[:, None])
    wanted = wanted * (1.0 - label_smoothing) + label_smoothing / logits.shape[1]
    each = tf.nn.softmax_cross_entropy_with_logits(wanted, tf.cast(logits, tf.float32))
    mask *= tf.cast(totals > 0, tf.float32)
    return Term(tf.reduce_sum(each * mask), tf.reduce_sum(mask))


def sigmoid_loss(
    logits: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor, class_balanced: bool = False
) -> Term:
    """Binary cross-entropies, summed over the classes of an example.

    Args:
        logits: float[batch, classes].
        targets: float[batch, classes] in [0, 1].
        mask: float32[batch] 1 for the examples that count.
        class_balanced: multiply each example by `class_balanced_weights`.

    Source: VATT, appendix A.3.
    """
    logits = tf.cast(logits, tf.float32)
    each = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=1)
    if class_balanced:
        each *= class_balanced_weights(targets, mask)
    return Term(tf.reduce_sum(each * mask), tf.reduce_sum(mask))


def class_balanced_weights(targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """How much an example counts: the mean, over its classes, of 1 / (the class's count).

    Counts are taken over the rows given, so they are those of one replica. Soft targets (mix-up)
    count by their share, in an example's number of classes as in a class's count.

    Args:
        targets: float[batch, classes] at least 0.
        mask: float32[batch] 1 for the examples that count.

    Returns:
        float32[batch], 0 for an example without a class.

    Source: VATT, appendix A.3.
    """
    counts = tf.reduce_sum(targets * mask[:, None], axis=0)
    rarity = tf.math.divide_no_nan(targets, counts[None, :])
    weights = tf.math.divide_no_nan(tf.reduce_sum(rarity, axis=1), tf.reduce_sum(targets, axis=1))
    return tf.stop_gradient(weights)
