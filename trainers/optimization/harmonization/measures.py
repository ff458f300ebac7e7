"""Inner products of the gradients of two losses, per group of rows, at three prices."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from trainers import distribution
from trainers.optimization.harmonization.projection import Products, row_products

Rows = Mapping[str, tf.Tensor]
"""By modality: float[batch, rows, dim]."""


def feature_products(rows_1: tf.Tensor, rows_2: tf.Tensor, num_groups: int, spans: bool):
    """Products of cotangents of the anchors' pooled rows.

    Args:
        rows_1, rows_2: float[batch, dim] of the two losses.
        num_groups: groups of consecutive rows.
        spans: whether the one group spans all replicas.

    Returns:
        Products of each group's rows, taken as one vector.
    """
    shape = [num_groups, -1]
    products = row_products(tf.reshape(rows_1, shape), tf.reshape(rows_2, shape))
    return Products(*map(distribution.sum_over_replicas, products)) if spans else products


def last_layer_products(
    hidden_1: tf.Tensor,
    cotangents_1: tf.Tensor,
    hidden_2: tf.Tensor,
    cotangents_2: tf.Tensor,
    *,
    use_bias: bool,
) -> Products:
    """Products of the gradients of one Dense, without forming a gradient.

    A Dense's gradient is the sum over its rows of (input, 1) times the cotangent of the output, so
    that the inner product of two such sums is a sum of products of inner products.

    Args:
        hidden_1: float[groups, rows_1, width] inputs of the rows that the first loss reaches.
        cotangents_1: float[groups, rows_1, dim] of the first loss by the Dense's output.
        hidden_2, cotangents_2: the same of the second loss.
        use_bias: whether the Dense has one.
    """

    def inner(hidden, cotangents, other_hidden, other_cotangents):
        inputs = tf.einsum("gpw,gqw->gpq", hidden, other_hidden) + (1.0 if use_bias else 0.0)
        outputs = tf.einsum("gpd,gqd->gpq", cotangents, other_cotangents)
        return tf.reduce_sum(inputs * outputs, axis=[1, 2])

    first = (tf.cast(hidden_1, tf.float32), tf.cast(cotangents_1, tf.float32))
    second = (tf.cast(hidden_2, tf.float32), tf.cast(cotangents_2, tf.float32))
    return Products(
        inner(*first, *second),
        tf.maximum(inner(*first, *first), 0.0),
        tf.maximum(inner(*second, *second), 0.0),
    )


def grouped(rows: Rows, modalities: Sequence[str], num_groups: int, spans: bool) -> tf.Tensor:
    """float[groups, rows, dim] of the named modalities side by side, gathered where a group spans
    all replicas."""
    parts = []
    for modality in modalities:
        value = distribution.gather(rows[modality]) if spans else rows[modality]
        parts.append(tf.reshape(value, [num_groups, -1, value.shape[-1]]))
    return tf.concat(parts, axis=1)


def exact_products(
    gradient: Callable[[Rows], list[tf.Tensor]],
    cotangents_1: Rows,
    cotangents_2: Rows,
    num_groups: int,
    spans: bool,
) -> Products:
    """Products of whole parameter gradients: two backward passes a group.

    Args:
        gradient: cotangents of pooled rows, by modality, to gradients of the shared parameters.
        cotangents_1, cotangents_2: of the two losses, by modality float[batch, (rows,) dim].
        num_groups: groups of consecutive rows.
        spans: whether the one group spans all replicas.
    """

    def vector(cotangents: Rows) -> tf.Tensor:
        parts = gradient(cotangents)
        flat = tf.concat([tf.reshape(tf.cast(part, tf.float32), [-1]) for part in parts], axis=0)
        return distribution.sum_over_replicas(flat) if spans else flat

    def one(group: tf.Tensor) -> tf.Tensor:
        first, second = (
            vector({name: _only(value, group, num_groups) for name, value in rows.items()})
            for rows in (cotangents_1, cotangents_2)
        )
        return tf.concat(row_products(first[None], second[None]), axis=0)

    if num_groups == 1:
        return Products(*tf.split(one(tf.zeros([], tf.int32)), 3))
    products = tf.map_fn(one, tf.range(num_groups), fn_output_signature=tf.TensorSpec([3]))
    return Products(*tf.unstack(products, axis=1))


def _only(value: tf.Tensor, group: tf.Tensor, num_groups: int) -> tf.Tensor:
    """`value` with the rows of every other group zeroed."""
    of_row = tf.range(value.shape[0]) * num_groups // value.shape[0]
    kept = tf.cast(of_row == group, value.dtype)
    return value * tf.reshape(kept, [-1] + [1] * (value.shape.rank - 1))
