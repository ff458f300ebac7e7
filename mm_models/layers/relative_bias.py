"""Relative position bias by logarithmic distance buckets (T5)."""

import keras
import numpy as np
import tensorflow as tf


def relative_buckets(
    relative_positions: np.ndarray, num_buckets: int, max_distance: int
) -> np.ndarray:
    """Buckets of key position minus query position, for attention in both directions.

    Half of the buckets serve keys after the query. Of each half, the first half counts single
    positions and the rest grow logarithmically up to `max_distance`; anything farther shares the
    last one.

    Args:
        relative_positions: int[...].
        num_buckets: buckets for both directions together.
        max_distance: distance from which the last bucket is used.

    Returns:
        int32[...] in [0, num_buckets).
    """
    per_direction = num_buckets // 2
    num_exact = per_direction // 2
    distances = np.abs(relative_positions)
    growth = np.log(np.maximum(distances, 1) / num_exact) / np.log(max_distance / num_exact)
    logarithmic = num_exact + (growth * (per_direction - num_exact)).astype(np.int64)
    logarithmic = np.minimum(logarithmic, per_direction - 1)
    buckets = np.where(distances < num_exact, distances, logarithmic)
    return (buckets + np.where(relative_positions > 0, per_direction, 0)).astype(np.int32)


@keras.saving.register_keras_serializable("mmstack")
class RelativeBias(keras.layers.Layer):
    """One table [buckets, heads], added to the attention scores of every layer of a stack.

    Call arguments:
        tokens: float[batch, tokens, dim]; only its length matters.

    Returns:
        float32[1, heads, tokens, tokens].

    Source: T5; VATT's text tower uses 32 buckets up to distance 64.
    """

    def __init__(self, num_heads: int, num_buckets: int = 32, max_distance: int = 64, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance

    def build(self, input_shape=None):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_buckets, self.num_heads),
            initializer=keras.initializers.TruncatedNormal(stddev=self.num_heads**-0.5),
            autocast=False,
        )
        self.built = True

    def call(self, tokens):
        positions = np.arange(tokens.shape[1])
        buckets = relative_buckets(
            positions[None, :] - positions[:, None], self.num_buckets, self.max_distance
        )
        # A product with a constant one-hot matrix: its gradient is a product too, not a scatter.
        one_hot = np.eye(self.num_buckets, dtype=np.float32)[buckets]
        return tf.einsum("qkn,nh->hqk", tf.constant(one_hot), self.embeddings.value)[None]

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
        }
