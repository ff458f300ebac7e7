"""Relative position bias by logarithmic distance buckets (T5)."""

import keras
import numpy as np
import tensorflow as tf

from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.word_embedding import look_up


def relative_buckets(
    relative_positions: np.ndarray, num_buckets: int, max_distance: int, causal: bool = False
) -> np.ndarray:
    """Buckets of key position minus query position.

    Half of the buckets serve keys after the query, unless none is ever seen. Of the buckets of a
    direction, the first half counts single positions and the rest grow logarithmically up to
    `max_distance`; anything farther shares the last one.

    Args:
        relative_positions: int[...].
        num_buckets: buckets for all directions together.
        max_distance: distance from which the last bucket is used.
        causal: keys after the query get bucket 0, and those before it all buckets.

    Returns:
        int32[...] in [0, num_buckets).
    """
    if causal:
        relative_positions = np.minimum(relative_positions, 0)
    per_direction = num_buckets if causal else num_buckets // 2
    num_exact = per_direction // 2
    distances = np.abs(relative_positions)
    growth = np.log(np.maximum(distances, 1) / num_exact) / np.log(max_distance / num_exact)
    logarithmic = num_exact + (growth * (per_direction - num_exact)).astype(np.int64)
    logarithmic = np.minimum(logarithmic, per_direction - 1)
    buckets = np.where(distances < num_exact, distances, logarithmic)
    return (buckets + np.where(relative_positions > 0, per_direction, 0)).astype(np.int32)


@keras.saving.register_keras_serializable("mmstack")
class RelativeBias(SavedLayer):
    """One table [buckets, heads], added to the attention scores of a layer or of a whole stack.

    Args:
        num_heads: heads of the layers.
        num_buckets, max_distance, causal: see `relative_buckets`.
        initialization: `truncated_normal` of variance 1 / heads, or `t5x`, uniform of variance
            2 / (heads + buckets).

    Call arguments:
        tokens: float[batch, tokens, dim]; only its length matters.

    Returns:
        float32[1, heads, tokens, tokens].

    Raises:
        ValueError: unknown initialization.

    Source: T5; VATT's text tower uses 32 buckets up to distance 64.
    """

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 64,
        causal: bool = False,
        initialization: str = "truncated_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if initialization not in ("truncated_normal", "t5x"):
            raise ValueError(
                f"initialization must be 'truncated_normal' or 't5x', not {initialization!r}"
            )
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.causal = causal
        self.initialization = initialization

    def build(self, input_shape=None):
        initializer = keras.initializers.TruncatedNormal(stddev=self.num_heads**-0.5)
        if self.initialization == "t5x":
            initializer = keras.initializers.VarianceScaling(1.0, "fan_avg", "uniform")
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_buckets, self.num_heads),
            initializer=initializer,
            autocast=False,
        )
        self.built = True

    def call(self, tokens):
        return self.between(np.arange(tokens.shape[1]))

    def between(self, positions: np.ndarray) -> tf.Tensor:
        """The bias of tokens at any positions, int[tokens]: float32[1, heads, tokens, tokens]."""
        positions = np.asarray(positions)
        if np.all(np.diff(positions) == 1):
            return self._of_neighbours(len(positions))
        relative = positions[None, :] - positions[:, None]
        distances, index = np.unique(relative, return_inverse=True)
        index = tf.constant(index.reshape(relative.shape), tf.int32)
        # [queries, keys, heads] -> [1, heads, queries, keys]
        bias = look_up(tf.transpose(self._of_distances(distances)), index)
        return tf.transpose(bias, [2, 0, 1])[None]

    def across(self, num_queries: int, num_keys: int) -> tf.Tensor:
        """The bias of queries at 0, 1, ... to the keys of another sequence at 0, 1, ...

        Returns:
            float32[1, heads, queries, keys].
        """
        # Every row is a stretch of the distances from -queries + 1 to keys - 1.
        distances = self._of_distances(np.arange(1 - num_queries, num_keys))
        starts = num_queries - 1 - np.arange(num_queries)
        index = tf.constant(starts[:, None] + np.arange(num_keys)[None], tf.int32)
        # [queries, keys, heads] -> [1, heads, queries, keys]
        return tf.transpose(look_up(tf.transpose(distances), index), [2, 0, 1])[None]

    def _of_neighbours(self, length: int) -> tf.Tensor:
        """The bias of positions that follow one another, in which all diagonals are constant.

        Rows of one vector, each shifted by one against the row before: nothing of [tokens, tokens,
        buckets] is built, and the gradient needs no scatter.
        """
        distances = self._of_distances(np.arange(1 - length, length))
        # One value too many in each of `length` equal rows; read as rows that are one shorter, the
        # vector starts one place later in every next one.
        rows = tf.tile(tf.pad(distances, [[0, 0], [0, 1]]), [1, length])
        width = 2 * length - 1
        shifted = tf.reshape(rows[:, : length * width], [self.num_heads, length, width])
        return shifted[None, :, :, length - 1 :]

    def _of_distances(self, distances: np.ndarray) -> tf.Tensor:
        """float32[heads, distances]: the bias of each difference of positions."""
        # A product with a constant one-hot matrix: its gradient is a product too, not a scatter.
        one_hot = np.eye(self.num_buckets, dtype=np.float32)[self._buckets(distances)]
        return tf.einsum("dn,nh->hd", tf.constant(one_hot), self.embeddings.value)

    def rows(self, position: tf.Tensor, num_queries: int, num_keys: int) -> tf.Tensor:
        """The bias of a few queries, from `position: int32[]` on, to the keys at 0, 1, ...

        Returns:
            float32[1, heads, queries, keys]; `call` has the same rows.
        """
        farthest = num_keys - 1
        buckets = tf.constant(self._buckets(np.arange(-farthest, farthest + 1)))
        queries = position + tf.range(num_queries)
        relative = tf.range(num_keys)[None] - queries[:, None]
        table = tf.convert_to_tensor(self.embeddings.value)
        # [queries, keys, heads] -> [1, heads, queries, keys]
        rows = tf.gather(table, tf.gather(buckets, relative + farthest))
        return tf.transpose(rows, [2, 0, 1])[None]

    def _buckets(self, relative_positions):
        return relative_buckets(
            relative_positions, self.num_buckets, self.max_distance, self.causal
        )
