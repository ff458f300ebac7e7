"""Attention heads: how tokens are split over them, matched and kept."""

import tensorflow as tf

from mm_models.layers import logical_axes

MASKED_SCORE = -1e9


def leading_shape(values: tf.Tensor, count: int = 2) -> list:
    """The first `count` sizes, as numbers where they are known."""
    dynamic = tf.shape(values)
    return [
        dynamic[axis] if size is None else size for axis, size in enumerate(values.shape[:count])
    ]


def split_heads(values: tf.Tensor, num_heads: int) -> tf.Tensor:
    """float[batch, tokens, heads * head_dim] -> float[batch, heads, tokens, head_dim]."""
    head_dim = values.shape[-1] // num_heads
    values = tf.reshape(values, [*leading_shape(values), num_heads, head_dim])
    return logical_axes.split_by("heads", tf.transpose(values, [0, 2, 1, 3]), 1)


def join_heads(values: tf.Tensor) -> tf.Tensor:
    """float[batch, heads, tokens, head_dim] -> float[batch, tokens, heads * head_dim]."""
    inner = values.shape[1] * values.shape[3]
    values = tf.transpose(values, [0, 2, 1, 3])
    return logical_axes.split_by("heads", tf.reshape(values, [*leading_shape(values), inner]), 2)


def of_heads(attention_mask: tf.Tensor) -> tf.Tensor:
    """A mask [batch, keys] or [batch, queries, keys] as float32[batch, 1, queries or 1, keys]."""
    mask = tf.cast(attention_mask, tf.float32)
    for axis in (1, 2) if mask.shape.rank == 2 else (1,):
        mask = tf.expand_dims(mask, axis)
    return mask


def attention_weights(
    queries: tf.Tensor,
    keys: tf.Tensor,
    attention_mask: tf.Tensor | None = None,
    bias: tf.Tensor | None = None,
) -> tf.Tensor:
    """How much of every key a query takes.

    Args:
        queries, keys: float[batch, heads, tokens, head_dim].
        attention_mask: [batch, keys] or [batch, queries, keys], 1 where a key may be seen, or None.
        bias: float[1 or batch, heads, queries, keys] added to the scores, or None.

    Returns:
        float32[batch, heads, queries, keys] that sum to 1 over the keys.
    """
    scores = tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32)
    if bias is not None:
        scores += tf.cast(bias, tf.float32)
    if attention_mask is not None:
        scores += (1.0 - of_heads(attention_mask)) * MASKED_SCORE
    return tf.nn.softmax(scores, axis=-1)


def write_at(cache: tf.Tensor, values: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """A cache in which `values` stand from `position` on; what would stand behind its end is lost.

    It is a choice between the two, not a slice that is written: Keras writes slices with an
    operation of XLA, which is slow outside of compiled functions and which servers without XLA do
    not know.

    Args:
        cache: float[rows, heads, max_length, head_dim].
        values: float[rows, heads, tokens, head_dim].
        position: int32[].
    """
    length, num_tokens = cache.shape[2], values.shape[2]
    places = tf.range(length) - position
    here = (places >= 0) & (places < num_tokens)
    if num_tokens > 1:
        # [rows, heads, tokens, head_dim] -> [rows, heads, max_length, head_dim]
        values = tf.gather(values, tf.clip_by_value(places, 0, num_tokens - 1), axis=2)
    return tf.where(here[:, None], tf.cast(values, cache.dtype), cache)
