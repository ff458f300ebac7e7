"""Positions by whole-number indices: lists by hand, a float64 form, dropped tokens, mistakes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.tokens.positions import IndexedPositions, position_ids
from tests import batteries

AXES = {"temporal": 4, "vertical": 6, "horizontal": 8}


@pytest.mark.parametrize(
    ("num_patches", "num_rows", "expected"),
    [
        (4, 16, [0, 4, 8, 12]),
        (16, 32, list(range(0, 32, 2))),
        (8, 32, list(range(0, 32, 4))),
        (14, 32, [0, 2, 4, 6, 9, 11, 13, 16, 18, 20, 22, 25, 27, 29]),
        (8, 64, list(range(0, 64, 8))),
        # In 8-bit fractions this one repeats 4 and skips 5.
        (24, 24, list(range(24))),
        (1, 16, [0]),
    ],
)
def test_indices(num_patches, num_rows, expected):
    assert position_ids(num_patches, num_rows).tolist() == expected


def test_words_stand_at_their_own_row_whatever_the_length():
    layer = IndexedPositions({"temporal": 4096}, 2, spread=False)
    assert layer.ids((16,))[0].tolist() == list(range(16))
    assert layer.ids((256,))[0][:16].tolist() == list(range(16))


def reference(layer: IndexedPositions, tokens, grid) -> np.ndarray:
    """Sum over the axes, then layer norm, then added, one token after another in float64."""
    tables = [np.asarray(getattr(layer, f"{axis}_embeddings"), np.float64) for axis in layer.axes]
    gamma, beta = (np.asarray(weight, np.float64) for weight in layer.layer_norm.weights)
    out = np.asarray(tokens, np.float64).copy()
    for number, place in enumerate(np.ndindex(*grid)):
        row = sum(
            table[(i * len(table)) // n] for table, i, n in zip(tables, place, grid, strict=True)
        )
        normed = (row - row.mean()) / np.sqrt(row.var() + 1e-6)
        out[:, number] += normed * gamma + beta
    return out


@pytest.mark.parametrize("grid", [(4, 6, 8), (2, 3, 4), (1, 5, 3)])
def test_equals_the_float64_form(grid):
    layer = IndexedPositions(AXES, 10)
    tokens = tf.random.stateless_normal([2, int(np.prod(grid)), 10], (1, 2))
    layer.build()
    batteries.shake(layer)
    np.testing.assert_allclose(layer(tokens, grid=grid), reference(layer, tokens, grid), atol=2e-5)


def test_kept_tokens_keep_their_positions():
    grid, dim = (2, 3, 4), 5
    layer = IndexedPositions(AXES, dim)
    everything = layer(tf.zeros([2, 24, dim]), grid=grid).numpy()
    kept = np.array([[3, 20, 7], [0, 23, 11]], np.int32)
    some = layer(tf.zeros([2, 3, dim]), grid=grid, kept=tf.constant(kept))
    expected = np.stack([everything[row, ids] for row, ids in enumerate(kept)])
    np.testing.assert_allclose(some, expected, atol=1e-6, rtol=1e-4)


def test_battery():
    batteries.check_layer(
        lambda dtype: OnGrid(AXES, 6, dtype=dtype),
        {"tokens": tf.random.stateless_normal([3, 24, 6], (1, 2))},
        first="tokens",
    )


@keras.saving.register_keras_serializable("mmstack_tests")
class OnGrid(IndexedPositions):
    def call(self, tokens):
        return super().call(tokens, grid=(2, 3, 4))


def test_gradients_are_dense_and_fall_on_the_rows_that_were_used():
    layer = IndexedPositions({"temporal": 8}, 3)
    layer.build()
    with tf.GradientTape() as tape:
        out = layer(tf.zeros([1, 2, 3]), grid=(2,))
        loss = tf.reduce_sum(out * tf.random.stateless_normal([1, 2, 3], (1, 2)))
    gradient = tape.gradient(loss, layer.temporal_embeddings.value)
    assert isinstance(gradient, tf.Tensor)
    assert np.flatnonzero(np.any(gradient.numpy() != 0, axis=1)).tolist() == [0, 4]


def test_more_tokens_than_rows_are_told():
    layer = IndexedPositions({"temporal": 8}, 3, name="positions")
    with pytest.raises(UserError, match="9 tokens stand along the temporal axis"):
        layer(tf.zeros([1, 9, 3]), grid=(9,))
