"""Areas, unions and overlaps of boxes in NumPy.

Boxes are y0, x0, y1, x1 in any one unit, such as pixels or shares of the picture.
"""

from collections.abc import Sequence

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """float64[...] of float[..., 4]; 0 for boxes that are turned inside out."""
    sizes = np.maximum(np.asarray(boxes, np.float64)[..., 2:] - np.asarray(boxes)[..., :2], 0.0)
    return sizes[..., 0] * sizes[..., 1]


def union_box(boxes: np.ndarray) -> np.ndarray:
    """The smallest box around boxes: float64[4] of float[boxes, 4]; zeros where there are none."""
    boxes = np.asarray(boxes, np.float64)
    if not len(boxes):
        return np.zeros(4)
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def intersection(first: np.ndarray, second: np.ndarray) -> float:
    """Area that two boxes share."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    corners = [np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])]
    return float(area(np.concatenate(corners)))


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes; 0 where neither has an area."""
    shared = intersection(first, second)
    whole = float(area(first) + area(second)) - shared
    return shared / whole if whole > 0 else 0.0


def contain(boxes: np.ndarray, point: Sequence[float]) -> bool:
    """Whether any of float[boxes, 4] holds the point (y, x), borders included."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    point = np.asarray(point, np.float64)
    return bool(((boxes[:, :2] <= point) & (point <= boxes[:, 2:])).all(axis=1).any())


def covered_area(boxes: np.ndarray) -> float:
    """Area that float[boxes, 4] cover together, where they overlap counted once."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    boxes = boxes[area(boxes) > 0]
    rows, columns = (np.unique(boxes[:, [axis, axis + 2]]) for axis in (0, 1))
    covered = np.zeros((max(len(rows) - 1, 0), max(len(columns) - 1, 0)), bool)
    for y0, x0, y1, x1 in boxes:
        covered |= ((rows[:-1] >= y0) & (rows[1:] <= y1))[:, None] & (
            (columns[:-1] >= x0) & (columns[1:] <= x1)
        )
    return float(np.diff(rows) @ covered @ np.diff(columns)) if covered.size else 0.0
