"""Stateless seeds: every draw is a function of a seed and the name of what it is for.

Numbers are hashes of their own place and the seed: of integers alone, so that all devices, eager
and compiled code draw the same; each by itself, so that compilers fuse them into what uses them
and split them over chips. Generators of blocks, as Philox, do neither on a TPU: there their blocks
of four become an axis that is padded to 128.
"""

import zlib

import tensorflow as tf

# Keeps the seeds that are folded apart from the numbers that are drawn.
_FOLDED = 0x9E3779B9


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
    purpose = tf.bitcast(tf.convert_to_tensor(purpose, tf.int32), tf.uint32)
    first, second = _keys(seed, _FOLDED)
    places = first + purpose * tf.constant(2, tf.uint32) + tf.constant([0, 1], tf.uint32)
    return tf.bitcast(_hashed(places, second), tf.int32)


def fold_in_optional(seed: tf.Tensor | None, purpose: str | int) -> tf.Tensor | None:
    """`fold_in`, or None where there is no seed (nothing is drawn at inference)."""
    return None if seed is None else fold_in(seed, purpose)


def drawing(purpose: str | int, training, seed: tf.Tensor | None) -> dict:
    """The arguments `training` and `seed` of what draws for one purpose."""
    return {"training": training, "seed": fold_in_optional(seed, purpose)}


def bits(shape, seed: tf.Tensor) -> tf.Tensor:
    """uint32[shape] of even bits, a pure function of `seed: int32[2]`; at most 2^32 of them."""
    first, second = _keys(seed, 0)
    return _hashed(_places(shape, first), second)


def uniform(shape, seed: tf.Tensor) -> tf.Tensor:
    """float32[shape] in [0, 1) with 24 random bits, a pure function of `seed: int32[2]`."""
    high = tf.bitwise.right_shift(bits(shape, seed), tf.constant(8, tf.uint32))
    return tf.cast(tf.bitcast(high, tf.int32), tf.float32) * 2.0**-24


def choices(num_choices: int, seed: tf.Tensor, count) -> tf.Tensor:
    """int32[count], each of `num_choices` equally probable, a pure function of `seed: int32[2]`."""
    return tf.cast(uniform([count], seed) * num_choices, tf.int32)


def keep_mask(shape, seed: tf.Tensor, drop_rate: float) -> tf.Tensor:
    """bool[shape], false for a share `drop_rate` in [0, 1), a pure function of `seed: int32[2]`."""
    return bits(shape, seed) >= tf.constant(int(drop_rate * 2**32), tf.uint32)


def required(seed: tf.Tensor | None, layer_name: str) -> tf.Tensor:
    """`seed` itself. Raises ValueError where a layer that draws was given none."""
    if seed is None:
        raise ValueError(f"layer {layer_name!r} draws random numbers in training and needs a seed")
    return seed


def _keys(seed: tf.Tensor, domain: int) -> tuple[tf.Tensor, tf.Tensor]:
    first, second = tf.unstack(tf.bitcast(seed, tf.uint32))
    # Mixed before use, so that nearby seeds do not give the same numbers at nearby places.
    first = mixed(first + tf.constant(domain, tf.uint32))
    return first, mixed(tf.bitwise.bitwise_xor(second, first))


def _places(shape, first: tf.Tensor) -> tf.Tensor:
    """uint32[shape] the place of every number, from `first: uint32[]` on."""
    if not isinstance(shape, list | tuple):
        static = tf.get_static_value(shape)
        shape = tf.unstack(shape) if static is None else static.tolist()
    # Grows by an axis at a time: a reshaped range would not fuse, nor could it be split over chips.
    # It begins with a 0 that XLA alone sees through: TensorFlow would write all of it out.
    places = first - first
    for size in shape:
        numbers = tf.bitcast(tf.range(size), tf.uint32)
        places = places[..., tf.newaxis] * tf.cast(size, tf.uint32) + numbers
    return first + places


def _hashed(places: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    return mixed(tf.bitwise.bitwise_xor(mixed(places), second))


def mixed(words: tf.Tensor) -> tf.Tensor:
    """A bijection of uint32[...] in which each bit of the result depends on all bits.

    Source: lowbias32, found by the search of C. Wellons's hash-prospector.
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        words = _folded(words, shift) * tf.constant(factor, tf.uint32)
    return _folded(words, 16)


def _folded(words: tf.Tensor, shift: int) -> tf.Tensor:
    high = tf.bitwise.right_shift(words, tf.constant(shift, tf.uint32))
    return tf.bitwise.bitwise_xor(words, high)
