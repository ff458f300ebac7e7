"""Stored arrays of features → steps of a grid: their forms, told apart by shape and positions."""

import numpy as np

from beam_pipelines.record.contract import POSITION_COLUMNS
from mm_models.signal.region_grid import grid_positions

_NUM_POSITIONS = len(POSITION_COLUMNS)
_TOLERANCE = 1e-3


def steps_of_array(stored: np.ndarray) -> np.ndarray:
    """Features as steps of a grid, without columns of positions.

    Forms, of which the first two may have the columns t, x0, x1, y0, y1 behind the features:

        [steps, rows, columns, dim]    a grid
        [steps * rows * columns, dim]  a grid laid out step by step, row by row; known by its
                                       positions, which say how many rows and columns there are
        [steps, dim]                   one vector a step: the second form without positions

    Args:
        stored: of numbers.

    Returns:
        float32[steps, rows, columns, dim].

    Raises:
        ValueError: another form, no steps, or numbers that are not finite.
    """
    if stored.dtype.kind not in "fiu":
        raise ValueError(f"they are {stored.dtype}, and no numbers")
    values = stored.astype(np.float32)
    if values.ndim not in (2, 4) or not values.size:
        raise ValueError(
            f"their shape is {list(stored.shape)}; it must be [steps, rows, columns, dim], or "
            "[steps * rows * columns, dim] with columns of positions, or [steps, dim]"
        )
    if not np.isfinite(values).all():
        raise ValueError("they have numbers that are not finite")
    steps = _laid_out(values) if values.ndim == 2 else values
    return _without_positions(steps)


def _laid_out(values: np.ndarray) -> np.ndarray:
    """[steps, rows, columns, any] of [any, any]."""
    shape = _grid_of(values)
    if shape is None:
        return values[:, np.newaxis, np.newaxis]
    return values.reshape(-1, *shape, values.shape[1])


def _grid_of(values: np.ndarray) -> tuple[int, int] | None:
    """Rows and columns by the positions of the first step; None where there are none."""
    if values.shape[1] <= _NUM_POSITIONS:
        return None
    positions = values[:, -_NUM_POSITIONS:]
    first = positions[np.abs(positions[:, 0]) < _TOLERANCE]
    columns, rows = (len(np.unique(first[:, place].round(4))) for place in (1, 3))
    if not len(first) or rows * columns != len(first) or len(values) % len(first):
        return None
    expected = grid_positions(len(values) // len(first), rows, columns)
    return (rows, columns) if _are_equal(positions, expected) else None


def _without_positions(steps: np.ndarray) -> np.ndarray:
    num_steps, rows, columns, width = steps.shape
    if width <= _NUM_POSITIONS:
        return steps
    expected = grid_positions(num_steps, rows, columns)
    has_positions = _are_equal(steps[..., -_NUM_POSITIONS:], expected)
    return steps[..., :-_NUM_POSITIONS] if has_positions else steps


def _are_equal(positions: np.ndarray, expected: np.ndarray) -> bool:
    return np.allclose(
        positions.reshape(-1, _NUM_POSITIONS),
        expected.reshape(-1, _NUM_POSITIONS),
        rtol=0,
        atol=_TOLERANCE,
    )
