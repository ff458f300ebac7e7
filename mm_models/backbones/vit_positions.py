"""Learned positions of image patches, resampled where an image has another grid.

Both methods are linear in the table and separate by axis, so that each is two small products.
"""

import functools
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.saved_layer import SavedLayer

# Of the cubic convolution kernel, as torch has it.
_CUBIC = -0.75


def _corner_matrix(num_rows: int, num_queries: int) -> np.ndarray:
    """Linear; the first and the last query are the first and the last row."""
    steps = np.arange(num_queries) / max(num_queries - 1, 1)
    places = steps * (num_rows - 1)
    lower = np.minimum(places.astype(int), max(num_rows - 2, 0))
    matrix = np.zeros((num_queries, num_rows))
    queries = np.arange(num_queries)
    matrix[queries, lower] = 1.0 - (places - lower)
    matrix[queries, np.minimum(lower + 1, num_rows - 1)] += places - lower
    return matrix


def _cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * _CUBIC - 4 * _CUBIC
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _bicubic_matrix(num_rows: int, num_queries: int) -> np.ndarray:
    """Rows and queries are centres of cells over the same length; edges repeat."""
    places = (np.arange(num_queries) + 0.5) * num_rows / num_queries - 0.5
    base = np.floor(places).astype(int)
    matrix = np.zeros((num_queries, num_rows))
    for offset in (-1, 0, 1, 2):
        rows = np.clip(base + offset, 0, num_rows - 1)
        np.add.at(matrix, (np.arange(num_queries), rows), _cubic(np.abs(places - base - offset)))
    return matrix


@functools.lru_cache(maxsize=64)
def axis_matrix(num_rows: int, num_queries: int, method: str) -> np.ndarray:
    """float32[queries, rows]: the map that resamples a table along one axis.

    Args:
        num_rows, num_queries: lengths before and after.
        method: `corner` or `bicubic`.

    Source: big_vision (`corner`); torch's bicubic interpolation without aligned corners, which
    transformers uses.
    """
    make = {"corner": _corner_matrix, "bicubic": _bicubic_matrix}[method]
    return make(num_rows, num_queries).astype(np.float32)


def square_grid(num_rows: int) -> tuple[int, int]:
    """The grid of a table that does not say its own. Raises UserError where it is not square."""
    side = math.isqrt(num_rows)
    if side * side != num_rows:
        raise UserError(
            f"a position table of {num_rows} rows is not that of a square of patches, so that it "
            "cannot be resampled; give a model of the same image and patch size"
        )
    return side, side


def resample_positions(
    table: np.ndarray,
    grid: Sequence[int],
    method: str = "corner",
    old_grid: Sequence[int] | None = None,
) -> np.ndarray:
    """A position table for another grid of patches.

    Args:
        table: float[..., rows, dim], row by row of the old grid.
        grid: rows and columns after.
        method: `corner` or `bicubic`.
        old_grid: rows and columns before; None: a square.

    Returns:
        float32[..., rows, dim].

    Raises:
        UserError: no old grid is given, and the table's rows are no square.
    """
    rows, columns = old_grid or square_grid(table.shape[-2])
    cells = np.reshape(np.asarray(table, np.float32), (*table.shape[:-2], rows, columns, -1))
    down, across = axis_matrix(rows, grid[0], method), axis_matrix(columns, grid[1], method)
    cells = np.einsum("yr,...rcd,xc->...yxd", down, cells, across, optimize=True)
    return cells.reshape(*table.shape[:-2], grid[0] * grid[1], -1)


@keras.saving.register_keras_serializable("mmstack")
class PatchPositions(SavedLayer):
    """Adds one learned row to the token of each patch.

    Args:
        grid: rows and columns of patches that the table has.
        dim: width of the tokens.
        method: how other grids are resampled, see `resample_positions`.

    Call arguments:
        tokens: float[batch, patches, dim], row by row.
        grid: rows and columns of these patches; None: the table's.

    Returns:
        float[batch, patches, dim].

    Source: big_vision.
    """

    def __init__(self, grid: Sequence[int], dim: int, method: str = "corner", **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)
        self.dim = dim
        self.method = method

    def build(self, input_shape=None):
        self.table = self.add_weight(
            name="table",
            shape=(math.prod(self.grid), self.dim),
            initializer=keras.initializers.RandomNormal(stddev=self.dim**-0.5),
            autocast=False,
        )
        self.built = True

    def rows(self, grid=None) -> tf.Tensor:
        """float32[patches, dim] for a grid."""
        table = tf.convert_to_tensor(self.table.value)
        if grid is None or tuple(grid) == self.grid:
            return table
        down = tf.constant(axis_matrix(self.grid[0], grid[0], self.method))
        across = tf.constant(axis_matrix(self.grid[1], grid[1], self.method))
        cells = tf.reshape(table, [*self.grid, self.dim])
        cells = tf.tensordot(down, cells, axes=1)
        # [rows', columns, dim] -> [rows', columns', dim]
        cells = tf.einsum("xc,ycd->yxd", across, cells)
        return tf.reshape(cells, [grid[0] * grid[1], self.dim])

    @property
    def tables(self) -> list[keras.Variable]:
        """float32[rows, dim], one."""
        return [self.table]

    def resized(self, table: np.ndarray, num_rows: int) -> np.ndarray:
        """A square's table float[rows, dim] as one of this layer's grid, which has `num_rows`."""
        del num_rows
        return resample_positions(table, self.grid, self.method)

    def call(self, tokens, grid=None):
        return tokens + tf.cast(self.rows(grid), tokens.dtype)
