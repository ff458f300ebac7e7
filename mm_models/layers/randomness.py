"""Stateless seeds: every draw is a function of a seed and the name of what it is for."""

import zlib

import tensorflow as tf

# One named algorithm, so that eager, graph and compiled code draw the same numbers on every device.
ALGORITHM = "philox"


def fold_in(seed: tf.Tensor, purpose: str | int | tf.Tensor) -> tf.Tensor:
    """A new seed for one purpose.

    Args:
        seed: int32[2].
        purpose: a Purpose, or a number such as the index of a layer or int32[] of a row.

    Returns:
        int32[2], different for every (seed, purpose).
    """
    if isinstance(purpose, str):
        purpose = zlib.crc32(purpose.encode("utf-8")) & 0x7FFFFFFF
    return tf.random.experimental.stateless_fold_in(
        seed, tf.convert_to_tensor(purpose, tf.int32), alg=ALGORITHM
    )


def fold_in_optional(seed: tf.Tensor | None, purpose: str | int) -> tf.Tensor | None:
    """`fold_in`, or None where there is no seed (nothing is drawn at inference)."""
    return None if seed is None else fold_in(seed, purpose)


def drawing(purpose: str | int, training, seed: tf.Tensor | None) -> dict:
    """The arguments `training` and `seed` of what draws for one purpose."""
    return {"training": training, "seed": fold_in_optional(seed, purpose)}


def _bits(shape, seed: tf.Tensor) -> tf.Tensor:
    # Whole integers: eager and compiled code agree on them, but not on how they become fractions.
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg=ALGORITHM
    )


def uniform(shape, seed: tf.Tensor) -> tf.Tensor:
    """float32[shape] in [0, 1) with 24 random bits, a pure function of `seed: int32[2]`."""
    bits = tf.bitwise.right_shift(tf.bitcast(_bits(shape, seed), tf.uint32), 8)
    return tf.cast(tf.bitcast(bits, tf.int32), tf.float32) * 2.0**-24


def choices(num_choices: int, seed: tf.Tensor, count) -> tf.Tensor:
    """int32[count], each of `num_choices` equally probable, a pure function of `seed: int32[2]`."""
    return tf.cast(uniform([count], seed) * num_choices, tf.int32)


def keep_mask(shape, seed: tf.Tensor, drop_rate: float) -> tf.Tensor:
    """bool[shape], false for a share `drop_rate` in [0, 1), a pure function of `seed: int32[2]`."""
    return _bits(shape, seed) >= int(drop_rate * 2**32) - 2**31


def required(seed: tf.Tensor | None, layer_name: str) -> tf.Tensor:
    """`seed` itself. Raises ValueError where a layer that draws was given none."""
    if seed is None:
        raise ValueError(f"layer {layer_name!r} draws random numbers in training and needs a seed")
    return seed
