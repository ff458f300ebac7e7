"""Prompts that a decoder-only model reads in one pass, every position seeing the whole prompt."""

from typing import Any

import tensorflow as tf


def prefix_mask(
    prefix_lengths: tf.Tensor, length: int, valid: tf.Tensor | None = None
) -> tf.Tensor:
    """Which keys a query sees when a bidirectional prefix comes before a causal rest.

    Args:
        prefix_lengths: int32[batch] positions of each row's prefix.
        length: positions of the whole sequence.
        valid: bool[batch, length] false for padding, which nothing sees; or None.

    Returns:
        bool[batch, queries, keys]: key <= query, or both in the prefix.

    Source: T5X, decoder-only causal attention.
    """
    positions = tf.range(length)
    causal = positions[None, :] <= positions[:, None]
    inside = positions[None, :] < prefix_lengths[:, None]  # [batch, length]
    seen = causal[None] | (inside[:, :, None] & inside[:, None, :])
    return seen if valid is None else seen & valid[:, None, :]


def step_mask(position: tf.Tensor, length: int, valid: tf.Tensor | None = None) -> tf.Tensor:
    """bool[1 or batch, keys] which keys the one query at `position` sees: itself and all before.

    Args:
        position: int32[].
        length: places of the cache.
        valid: bool[batch, places of the prompt] false for padding of the prompt; later places are
            valid. None if there is no padding.
    """
    seen = (tf.range(length) <= position)[None]
    if valid is None:
        return seen
    return seen & tf.pad(valid, [[0, 0], [0, length - valid.shape[1]]], constant_values=True)


def for_beams(cache: Any, num_beams: int) -> Any:
    """A cache made with one row per prompt, its rows repeated for the beams of each."""
    return tf.nest.map_structure(lambda values: tf.repeat(values, num_beams, axis=0), cache)
