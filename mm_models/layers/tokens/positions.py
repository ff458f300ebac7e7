"""Learned positions with one table per axis, resampled or indexed where the grid differs."""

import functools

import keras
import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.word_embedding import look_up
from mm_models.layers.transformer import normalization


@functools.lru_cache(maxsize=64)
def resampling_matrix(num_rows: int, num_queries: int) -> np.ndarray:
    """The linear map that resamples a table of `num_rows` to `num_queries` rows.

    A polyharmonic spline of order 3 with a linear part through knots i / num_rows, read at j /
    num_queries. Between the knots that is the natural cubic spline.

    Returns:
        float32[num_queries, num_rows].

    Source: VATT, appendix A.2.5 (there called bicubic).
    """
    # In units of one row: the spline is the same in any unit, and the system better conditioned.
    knots = np.arange(num_rows, dtype=np.float64)
    queries = np.arange(num_queries, dtype=np.float64) * (num_rows / num_queries)
    system = np.zeros((num_rows + 2, num_rows + 2))
    system[:num_rows, :num_rows] = np.abs(knots[:, None] - knots[None, :]) ** 3
    system[:num_rows, num_rows] = system[num_rows, :num_rows] = knots
    system[:num_rows, num_rows + 1] = system[num_rows + 1, :num_rows] = 1.0
    basis = np.concatenate(
        [
            np.abs(queries[:, None] - knots[None, :]) ** 3,
            queries[:, None],
            np.ones((num_queries, 1)),
        ],
        axis=1,
    )
    # The system is symmetric, so solving for the basis gives the weights of the rows directly.
    return np.linalg.solve(system, basis.T).T[:, :num_rows].astype(np.float32)


def resample_table(table: np.ndarray, num_rows: int) -> np.ndarray:
    """A position table float[rows, dim] with another number of rows; a single row is repeated."""
    if len(table) < 2:
        return np.repeat(table, num_rows, axis=0)
    return resampling_matrix(len(table), num_rows) @ table


@keras.saving.register_keras_serializable("mmstack")
class AxisPositions(SavedLayer):
    """Adds to each token the (normalised) sum of one learned row per axis.

    Args:
        axes: name of each axis to the rows of its table, in token order, such as
            {"temporal": 8, "vertical": 14, "horizontal": 14}.
        dim: width of the tokens.
        use_layer_norm: normalise the sum, as the reference does; the paper adds it as it is.

    Call arguments:
        tokens: float[batch, tokens, dim].
        grid: tokens along each axis; tables of another length are resampled.
        kept: int32[kept] or int32[batch, kept], which positions of the grid the tokens are; None:
            all.

    Returns:
        float[batch, tokens, dim].

    Source: VATT, section 3.1.
    """

    def __init__(self, axes: dict[str, int], dim: int, use_layer_norm: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.axes = dict(axes)
        self.dim = dim
        self.use_layer_norm = use_layer_norm
        if use_layer_norm:
            self.layer_norm = normalization.make_norm(
                "layer", name="layer_norm", dtype=self.dtype_policy
            )

    def build(self, input_shape=None):
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for axis, num_rows in self.axes.items():
            table = self.add_weight(
                name=f"{axis}_embeddings",
                shape=(num_rows, self.dim),
                initializer=keras.initializers.TruncatedNormal(stddev=self.dim**-0.5),
                autocast=False,
            )
            setattr(self, f"{axis}_embeddings", table)
        if self.use_layer_norm:
            self.layer_norm.build((None, self.dim))
        self.built = True

    @property
    def tables(self) -> list[keras.Variable]:
        """float32[rows, dim] per axis, in token order."""
        return [getattr(self, f"{axis}_embeddings") for axis in self.axes]

    def resized(self, table: np.ndarray, num_rows: int) -> np.ndarray:
        """A table float[rows, dim] of another length as one of `num_rows`, for weights from
        elsewhere."""
        return resample_table(table, num_rows)

    def rows(self, grid) -> tf.Tensor:
        """float32[prod(grid), dim]: the summed rows before normalisation."""
        total = tf.zeros([1, self.dim])
        for table, size in zip(self.tables, grid, strict=True):
            rows = tf.convert_to_tensor(table.value)
            if size != table.shape[0]:
                rows = tf.matmul(tf.constant(resampling_matrix(table.shape[0], size)), rows)
            total = tf.reshape(total[:, None] + rows[None], [-1, self.dim])
        return total

    def call(self, tokens, grid=None, kept=None):
        rows = self.rows(grid)
        if self.use_layer_norm:
            rows = self.layer_norm(rows)
        rows = rows if kept is None else tf.gather(rows, kept)
        return tokens + tf.cast(rows, tokens.dtype)


def position_ids(num_patches: int, num_rows: int) -> np.ndarray:
    """Rows of a table that patches along one axis take: int32[num_patches], (i * rows) // patches.

    Twice the resolution halves the distance between the rows, so that one place in the picture has
    nearly the same row at every resolution. In whole numbers, because fractions of few bits repeat
    and skip rows.

    Source: the released IMP code (multi-resolution).
    """
    return (np.arange(num_patches) * num_rows // num_patches).astype(np.int32)


@keras.saving.register_keras_serializable("mmstack")
class IndexedPositions(SavedLayer):
    """Adds to each token the normalised sum of one learned row per axis; grids spread over tables.

    Args:
        axes: name of each axis to the rows of its table, in token order, such as
            {"temporal": 16, "vertical": 32, "horizontal": 32}.
        dim: width of the tokens.
        spread: use rows at equal distances over the whole table (`position_ids`); false uses the
            first ones, so that a token's row does not depend on how many there are (text).

    Call arguments:
        tokens: float[batch, tokens, dim].
        grid: tokens along each axis.
        kept: int32[kept] or int32[batch, kept], which positions of the grid the tokens are; None:
            all.

    Returns:
        float[batch, tokens, dim].

    Raises:
        UserError: more tokens along an axis than its table has rows.

    Source: the released IMP code.
    """

    def __init__(self, axes: dict[str, int], dim: int, spread: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.axes = dict(axes)
        self.dim = dim
        self.spread = spread
        self.layer_norm = normalization.make_norm(
            "layer", name="layer_norm", dtype=self.dtype_policy
        )

    def build(self, input_shape=None):
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for axis, num_rows in self.axes.items():
            table = self.add_weight(
                name=f"{axis}_embeddings",
                shape=(num_rows, self.dim),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                autocast=False,
            )
            setattr(self, f"{axis}_embeddings", table)
        self.layer_norm.build((None, self.dim))
        self.built = True

    def ids(self, grid) -> list[np.ndarray]:
        """int32[tokens along the axis] for each axis: rows of its table."""
        rows = []
        for (axis, num_rows), size in zip(self.axes.items(), grid, strict=True):
            if size > num_rows:
                raise UserError(
                    f"{size} tokens stand along the {axis} axis, more than the {num_rows} rows of "
                    f"its position table ({self.path}); take larger patches, or a longer table"
                )
            rows.append(position_ids(size, num_rows if self.spread else size))
        return rows

    def rows(self, grid) -> tf.Tensor:
        """float32[prod(grid), dim]: the summed rows before normalisation."""
        total = tf.zeros([1, self.dim])
        for axis, ids in zip(self.axes, self.ids(grid), strict=True):
            table = tf.convert_to_tensor(getattr(self, f"{axis}_embeddings").value)
            rows = look_up(table, tf.constant(ids))
            total = tf.reshape(total[:, None] + rows[None], [-1, self.dim])
        return total

    def call(self, tokens, grid=None, kept=None):
        rows = self.layer_norm(self.rows(grid))
        rows = rows if kept is None else tf.gather(rows, kept)
        return tokens + tf.cast(rows, tokens.dtype)
