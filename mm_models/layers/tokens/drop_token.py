"""DropToken: train on a random part of the tokens."""

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.saved_layer import SavedLayer


def num_kept(num_tokens: int, drop_rate: float) -> int:
    """How many of `num_tokens` stay; the part behind the point is cut, as in the reference."""
    # Rounding first keeps 1 - 0.9 from losing the token that 0.1 * 10 stands for.
    return int(round((1.0 - drop_rate) * num_tokens, 6))


def draw_kept(
    batch, num_tokens: int, num_kept: int, *, per_sample: bool, seed: tf.Tensor
) -> tf.Tensor:
    """Which `num_kept` of `num_tokens` stay, drawn without replacement, in random order.

    Args:
        batch: rows of the batch, int or int32[].
        num_tokens, num_kept: of one sequence.
        per_sample: draw for every row apart instead of once for all.
        seed: int32[2].

    Returns:
        int32[batch, num_kept] if `per_sample`, else int32[num_kept].
    """
    draws = randomness.uniform([batch, num_tokens] if per_sample else [num_tokens], seed)
    return tf.argsort(draws, axis=-1)[..., :num_kept]


def take_tokens(tokens: tf.Tensor, kept: tf.Tensor | None) -> tf.Tensor:
    """Rows `kept` of every sequence.

    Args:
        tokens: float[batch, tokens, ...].
        kept: int32[kept] shared by the batch, int32[batch, kept], or None for all rows.

    Returns:
        float[batch, kept, ...].
    """
    if kept is None:
        return tokens
    if kept.shape.rank == 1:
        return tf.gather(tokens, kept, axis=1)
    return tf.gather(tokens, kept, axis=1, batch_dims=1)


@keras.saving.register_keras_serializable("mmstack")
class DropToken(SavedLayer):
    """Keeps `num_kept` random tokens in training, in random order, unscaled; all at inference.

    One permutation serves the whole batch, as in the reference; `per_sample` draws one per row.
    Choosing (`choose`) is apart from taking (`take_tokens`), so that a caller can choose first and
    never compute what is dropped.

    Call arguments:
        tokens: float[batch, tokens, dim].
        training: bool.
        seed: int32[2].

    Source: VATT, section 3.3.
    """

    def __init__(self, num_kept: int, per_sample: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.num_kept = num_kept
        self.per_sample = per_sample
        self.built = True

    def choose(self, batch, num_tokens: int, *, training: bool, seed) -> tf.Tensor | None:
        """Rows to keep, int32[kept] or int32[batch, kept]; None where every token stays."""
        if not training or self.num_kept >= num_tokens:
            return None
        seed = randomness.required(seed, self.name)
        return draw_kept(batch, num_tokens, self.num_kept, per_sample=self.per_sample, seed=seed)

    def call(self, tokens, training=False, seed=None):
        kept = self.choose(tf.shape(tokens)[0], tokens.shape[1], training=training, seed=seed)
        return take_tokens(tokens, kept)
