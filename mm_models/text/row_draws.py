"""Uniform integers for every row of a batch from that row's own seed, without a loop over rows."""

import tensorflow as tf

from mm_models.layers.randomness import mixed

_COLUMN = 0x9E3779B9


def row_bits(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """uint32[rows, count], each row a pure function of its seed.

    `randomness.uniform` draws a whole tensor from one seed; here a row keeps its numbers whichever
    rows stand beside it, as examples need whose batch is divided over replicas.

    Args:
        seeds: int32[rows, 2].
        count: numbers per row.
    """
    first, second = tf.unstack(tf.bitcast(seeds, tf.uint32), axis=1)
    row = mixed(tf.bitwise.bitwise_xor(first, mixed(second + tf.constant(_COLUMN, tf.uint32))))
    columns = tf.cast(tf.range(count), tf.uint32) * tf.constant(_COLUMN, tf.uint32)
    return mixed(mixed(row[:, tf.newaxis] + columns))


def row_uniform(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """float32[rows, count] in [0, 1) with 24 random bits, as `row_bits`."""
    bits = tf.bitwise.right_shift(row_bits(seeds, count), 8)
    return tf.cast(tf.bitcast(bits, tf.int32), tf.float32) * 2.0**-24


def fold_rows(seeds: tf.Tensor, number: int) -> tf.Tensor:
    """int32[rows, 2]: new seeds for one purpose, from `seeds: int32[rows, 2]`."""
    salt = tf.constant((number * _COLUMN) & 0x7FFFFFFF, tf.int32)
    salted = tf.bitwise.bitwise_xor(seeds, salt)
    return tf.bitcast(row_bits(salted, 2), tf.int32)
