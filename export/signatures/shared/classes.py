"""A trained classifier's logits as what clients read, and what that means."""

from collections.abc import Sequence

import tensorflow as tf

from export.signatures import fields
from export.signatures.fields import Field

TOP_CLASSES = 5


def class_answers(
    logits: tf.Tensor, class_names: Sequence[str], is_multi_label: bool
) -> dict[str, tf.Tensor]:
    """Probabilities, and the most probable classes by name.

    Args:
        logits: float32[batch, classes].
        class_names: in index order.
        is_multi_label: whether a class's probability is its own, or one among all.
    """
    probability = tf.nn.sigmoid(logits) if is_multi_label else tf.nn.softmax(logits)
    top = tf.math.top_k(probability, min(TOP_CLASSES, len(class_names)))
    return {
        "probability": probability,
        "top_class": tf.gather(tf.constant(list(class_names)), top.indices),
        "top_probability": top.values,
    }


def class_fields(class_names: Sequence[str], is_multi_label: bool) -> dict[str, Field]:
    """The outputs of `class_answers`."""
    names = list(class_names)
    meaning = "of each class by itself" if is_multi_label else "one among all classes"
    top = min(TOP_CLASSES, len(names))
    return {
        "probability": fields.output_field(
            fields.CLASS_SCORES,
            f"{meaning}, in the order of the names: {', '.join(names)}",
            class_names=names,
        ),
        "top_class": fields.output_field(
            fields.BEST_CLASSES, f"names of the {top} most probable, best first"
        ),
        "top_probability": fields.output_field(fields.BEST_CLASS_SCORES, "their probabilities"),
    }
