"""Heat maps over pictures: enlarged, pointed with, and compared with boxes; NumPy in float64.

Boxes are y0, x0, y1, x1 in pixels of the enlarged map.

Source: Akbari and others (CVPR 2019), section 4: the pointing game, and the attention correctness
of Liu and others (2017).
"""

import numpy as np

from mm_models.metrics.boxes.overlap import contain
from mm_models.signal.interpolation import interpolation


def phrase_map(word_maps: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The maps of a phrase's words, averaged by the words' scores.

    Args:
        word_maps: float[words, rows, columns].
        scores: float[words]; what is below 0 counts as 0.

    Returns:
        float64[rows, columns]; zeros where no word has a score.
    """
    scores = np.maximum(np.asarray(scores, np.float64), 0.0)
    total = scores.sum()
    weights = scores / total if total > 0 else scores
    return np.tensordot(weights, np.asarray(word_maps, np.float64), axes=1)


def enlarge(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres, the edges repeated, as `cv2.resize` does by default.

    Args:
        heat: float[rows, columns].
        height, width: of the result in pixels.

    Returns:
        float64[height, width].
    """
    heat = np.asarray(heat, np.float64)
    rows, columns = heat.shape
    return interpolation(rows, height) @ heat @ interpolation(columns, width).T


def first_maximum(heat: np.ndarray) -> tuple[int, int]:
    """Row and column of the highest value, the first one in raster order."""
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    return int(row), int(column)


def points_at(heat: np.ndarray, boxes: np.ndarray) -> bool:
    """Pointing game: whether the highest pixel lies in one of float[boxes, 4], borders included."""
    return contain(boxes, first_maximum(heat))


def attention_correctness(heat: np.ndarray, boxes: np.ndarray) -> float:
    """Share of the heat inside boxes, added up over them; 0 for a map without heat.

    Rows y0 to y1 and columns x0 to x1 of the nearest whole pixels, ends exclusive. Where boxes
    overlap, heat counts for each of them.
    """
    heat = np.asarray(heat, np.float64)
    total = heat.sum()
    if not total > 0:
        return 0.0
    pixels = np.rint(np.asarray(boxes, np.float64)).astype(int).reshape(-1, 4)
    return float(sum(heat[y0:y1, x0:x1].sum() for y0, x0, y1, x1 in pixels) / total)
