"""Conflict, projection and curriculum from the inner products of two gradients."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.layers import randomness
from trainers import distribution
from trainers.optimization.harmonization.config import HarmonizationConfig

NEVER = -2.0
"""A threshold below every cosine."""


class Products(NamedTuple):
    """Inner products of the two gradients g1 and g2 of each group: float32[groups] each."""

    dot: tf.Tensor
    square_1: tf.Tensor
    square_2: tf.Tensor

    def cosine(self) -> tf.Tensor:
        """<g1, g2> / (|g1| |g2|), and 0 where either gradient is zero."""
        return tf.math.divide_no_nan(self.dot, tf.sqrt(self.square_1) * tf.sqrt(self.square_2))

    def both(self) -> tf.Tensor:
        """bool[groups] where both gradients differ from zero."""
        return (self.square_1 > 0.0) & (self.square_2 > 0.0)


def row_products(rows_1: tf.Tensor, rows_2: tf.Tensor) -> Products:
    """Products of gradients given as vectors: float[groups, dim] each."""
    rows_1, rows_2 = tf.cast(rows_1, tf.float32), tf.cast(rows_2, tf.float32)
    return Products(
        tf.reduce_sum(rows_1 * rows_2, axis=1),
        tf.reduce_sum(rows_1 * rows_1, axis=1),
        tf.reduce_sum(rows_2 * rows_2, axis=1),
    )


def realign_factors(products: Products, conflicting: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What each gradient is multiplied by so that the sum is that of the projected ones.

    Either gradient loses its component along the other, original one. The sum of the two results is
    (1 - <g1, g2> / |g1|^2) g1 + (1 - <g1, g2> / |g2|^2) g2, so that no projected vector needs to
    exist.

    Args:
        products: of the vectors that are projected.
        conflicting: bool[groups] where to project; nothing happens to products that are not
            negative.

    Returns:
        float32[groups] factor of g1 and of g2, 1 where nothing is projected.

    Source: PCGrad for two tasks, symmetric; gradient harmonization, algorithm 1.
    """
    negative = tf.where(conflicting, tf.minimum(products.dot, 0.0), tf.zeros_like(products.dot))
    return (
        1.0 - tf.math.divide_no_nan(negative, products.square_1),
        1.0 - tf.math.divide_no_nan(negative, products.square_2),
    )


def felt_through_batch_norm(change: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """`change` without its part along a common shift and a common scale of the rows.

    A Dense and batch norm behind the rows make the loss blind to both, so that its own cotangents
    sum to zero and are orthogonal to the centred rows. Weighing single rows breaks that, and the
    step would push, in the same direction at every step, where the loss cannot answer.

    Args:
        change: float[batch, ..., dim] what is added to the cotangents of the rows.
        rows: float[batch, ..., dim] over whose leading axes, of all replicas, batch norm takes its
            statistics.
    """
    flat = tf.cast(tf.reshape(change, [-1, change.shape[-1]]), tf.float32)
    points = tf.cast(tf.reshape(rows, flat.shape), tf.float32)
    count = distribution.sum_over_replicas(tf.cast(flat.shape[0], tf.float32))
    flat -= distribution.sum_over_replicas(tf.reduce_sum(flat, axis=0)) / count
    points -= distribution.sum_over_replicas(tf.reduce_sum(points, axis=0)) / count
    along = distribution.sum_over_replicas(tf.reduce_sum(flat * points))
    spread = distribution.sum_over_replicas(tf.reduce_sum(tf.square(points)))
    flat -= points * tf.math.divide_no_nan(along, spread)
    return tf.cast(tf.reshape(flat, change.shape), change.dtype)


def threshold(config: HarmonizationConfig, step: tf.Tensor) -> tf.Tensor:
    """float32[] cosine above which the curriculum keeps a group at `step`; NEVER before its ramp.

    Source: gradient harmonization, algorithm 2.
    """
    step = tf.cast(step, tf.float32)
    length = max(config.ramp_end - config.ramp_begin, 1)
    position = tf.clip_by_value((step - config.ramp_begin) / length, 0.0, 1.0)
    if config.ramp_end == config.ramp_begin:
        position = tf.ones([])
    gamma = config.gamma_start + (config.gamma_end - config.gamma_start) * position
    return tf.where(step < config.ramp_begin, NEVER, gamma)


def shuffled(scores: tf.Tensor, valid: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Scores handed around at random among the valid groups.

    Args:
        scores: float32[groups].
        valid: bool[groups]; the others keep their own.
        seed: int32[2].
    """
    draws = randomness.uniform(tf.shape(scores), seed)
    # Both orders list the valid groups first, one at random and one as they stand.
    givers = tf.argsort(tf.where(valid, draws, draws + 2.0))
    takers = tf.argsort(tf.cast(~valid, tf.int32), stable=True)
    handed = tf.gather(tf.gather(scores, givers), tf.argsort(takers))
    return tf.where(valid, handed, scores)
