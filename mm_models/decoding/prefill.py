"""Prompts that a decoder-only model reads in one pass, every position seeing the whole prompt.

A model of `TransformerStack` reads its prompt with one `step` of many tokens at position 0, under
`prompt_mask`, then writes with steps of one token under `step_mask`.
"""

from typing import Any

import tensorflow as tf

from mm_models.layers.transformer.masks import cache_mask, causal_mask


def prefix_mask(
    prefix_lengths: tf.Tensor, length: int, valid: tf.Tensor | None = None
) -> tf.Tensor:
    """Which keys a query sees when a bidirectional prefix comes before a causal rest.

    Args:
        prefix_lengths: int32[batch] positions of each row's prefix.
        length: positions of the whole sequence.
        valid: [batch, length], 1 or true but for padding, which nothing sees; or None.

    Returns:
        float32[batch, queries, keys]: 1 where key <= query, or where both are in the prefix.

    Source: T5X, decoder-only causal attention.
    """
    inside = tf.cast(tf.range(length) < prefix_lengths[:, None], tf.float32)  # [batch, length]
    seen = tf.maximum(causal_mask(length), inside[:, :, None] * inside[:, None, :])
    return seen if valid is None else seen * tf.cast(valid, tf.float32)[:, None]


def prompt_mask(valid: tf.Tensor, max_length: int) -> tf.Tensor:
    """What the positions of a prompt see of a cache: the prompt's ids, before and behind them.

    Args:
        valid: [batch, prompt], 1 or true but for padding.
        max_length: places of the cache.

    Returns:
        float32[batch, prompt, max_length].
    """
    length = valid.shape[1]
    seen = tf.pad(tf.cast(valid, tf.float32), [[0, 0], [0, max_length - length]])
    return tf.repeat(seen[:, None], length, axis=1)


def step_mask(position: tf.Tensor, valid: tf.Tensor, max_length: int) -> tf.Tensor:
    """What the one query at `position: int32[]` sees: itself, and all before but padding.

    Args:
        position: int32[] after the prompt.
        valid: [rows, prompt], as of `prompt_mask`.
        max_length: places of the cache.

    Returns:
        float32[rows, 1, max_length].
    """
    room = [[0, 0], [0, max_length - valid.shape[1]]]
    known = tf.pad(tf.cast(valid, tf.float32), room, constant_values=1.0)
    return cache_mask(position, 1, max_length) * known[:, None]


def for_beams(cache: Any, num_beams: int) -> Any:
    """A cache made with one row per prompt, its rows repeated for the beams of each."""
    return tf.nest.map_structure(lambda values: tf.repeat(values, num_beams, axis=0), cache)
