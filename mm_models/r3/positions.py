"""Where tokens are, as vectors that roles are made of."""

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.word_embedding import WordEmbedding
from mm_models.layers.transformer import normalization


@keras.saving.register_keras_serializable("mmstack")
class PlaceEmbedding(SavedLayer):
    """The sum of a row of each of some tables, normalised; values are dropped in training.

    Args:
        tables: rows of each table by its name.
        dim: width.
        dropout_rate: of the result.

    Call arguments:
        ids: int32[...] by the tables' names, all of one shape.
        training: bool.
        seed: int32[2].

    Returns:
        float[..., dim].

    Source: R3 (spatio-temporal and temporal embeddings, which only roles read).
    """

    def __init__(self, tables: dict[str, int], dim: int, dropout_rate: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.tables = dict(tables)
        self.dim = dim
        self.dropout_rate = dropout_rate
        policy = self.dtype_policy
        for name, num_rows in self.tables.items():
            setattr(self, name, WordEmbedding(num_rows, dim, name=name, dtype=policy))
        self.norm = normalization.make_norm("rms", name="norm", dtype=policy)
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=policy)

    def build(self, input_shape=None):
        for name in self.tables:
            getattr(self, name).build()
        self.norm.build((None, self.dim))
        self.built = True

    def call(self, ids, training=False, seed=None):
        rows = tf.add_n([getattr(self, name)(ids[name]) for name in self.tables])
        dropping = randomness.drawing(Purpose.POSITIONS, training, seed)
        return self.dropout(self.norm(rows), **dropping)


def region_tables(num_steps: int, rows: int, columns: int) -> dict[str, int]:
    """Sizes of the tables that `region_ids` index."""
    regions = max(rows, 1) * max(columns, 1)
    return {"step": num_steps, "center": regions, "extent": regions}


def region_ids(
    positions: tf.Tensor, num_steps: int, rows: int, columns: int, size_ids: str = "cells"
) -> dict[str, tf.Tensor]:
    """When regions are seen, where their centers are and how large they are.

    Args:
        positions: float[batch, tokens, 5], columns t, x0, x1, y0, y1, shares of width and height.
        num_steps: later ones count as the last.
        rows, columns: of the grid, 0 for none.
        size_ids: `cells`, or `released`, which forgets to multiply the height's share by the
            columns and so has one id for all regions of a grid.

    Returns:
        int32[batch, tokens] by table.
    """
    rows, columns = max(rows, 1), max(columns, 1)
    # float32[batch, tokens] each
    step, left, right, top, bottom = tf.unstack(tf.cast(positions, tf.float32), axis=-1)
    height, width = tf.abs(bottom - top), tf.abs(right - left)
    # Thirds are not whole in floating point: half a cell is far more than the error.
    down = tf.floor((top + bottom) / 2 * rows + 1e-4)
    across = tf.floor((left + right) / 2 * columns + 1e-4)
    if size_ids == "cells":
        extent = tf.round(height * rows - 1) * columns + tf.round(width * columns - 1)
    else:
        extent = tf.floor(height * rows + width + 1e-4)
    last = rows * columns - 1
    return {
        "step": _clipped(step, num_steps - 1),
        "center": _clipped(down * columns + across, last),
        "extent": _clipped(extent, last),
    }


def _clipped(numbers: tf.Tensor, last: int) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(numbers, 0.0, float(last)), tf.int32)
