"""Attention masks: 1 where a key may be seen, 0 where not."""

import tensorflow as tf


def causal_mask(num_tokens: int) -> tf.Tensor:
    """float32[1, tokens, tokens]: every query sees itself and what is before it."""
    return tf.linalg.band_part(tf.ones([1, num_tokens, num_tokens]), -1, 0)


def segment_mask(query_segments: tf.Tensor, key_segments: tf.Tensor | None = None) -> tf.Tensor:
    """Keeps the examples of a packed row apart.

    Args:
        query_segments: int32[batch, queries], 1, 2, ... by example; 0 is padding.
        key_segments: int32[batch, keys]; None: those of the queries.

    Returns:
        float32[batch, queries, keys]: 1 where query and key are of one example. Padding sees
        nothing, and nothing sees it.
    """
    keys = query_segments if key_segments is None else key_segments
    equal = query_segments[:, :, None] == keys[:, None, :]
    return tf.cast(equal & (query_segments > 0)[:, :, None], tf.float32)


def cache_mask(position: tf.Tensor, num_queries: int, max_length: int) -> tf.Tensor:
    """float32[1, queries, max_length]: what queries at `position: int32[]` and after it may see of
    a cache."""
    queries = position + tf.range(num_queries)
    return tf.cast(tf.range(max_length)[None] <= queries[:, None], tf.float32)[None]
