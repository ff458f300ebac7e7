"""Boxes around what is hot in a heat map; NumPy and SciPy in float64.

Source: Akbari and others (CVPR 2019), section 4, and its reference code.
"""

import numpy as np
from scipy import ndimage

from mm_models.metrics.boxes.heat_maps import enlarge
from mm_models.metrics.boxes.overlap import area, intersection, union_box

# Corners of a cell touch too.
_NEIGHBOURS = np.ones((3, 3), int)


def propose_boxes(
    heat: np.ndarray,
    height: int,
    width: int,
    *,
    relative_threshold: float = 0.3,
    most: int = 3,
    merged_overlap: float = 0.6,
    largest_share: float = 0.9,
) -> np.ndarray:
    """Boxes around the highest peaks of a map.

    The map is stretched to [0, 1]. Around each of its peaks, the connected pixels of the enlarged
    map that are higher than a share of the peak make a box. Of two boxes one of which lies mostly
    in the other, the box around both is kept; boxes of nearly the whole picture are dropped.

    Args:
        heat: float[rows, columns].
        height, width: of the picture in pixels.
        relative_threshold: share of the highest value that peaks exceed, and of a peak that its
            pixels exceed.
        most: highest peaks that are kept.
        merged_overlap: share of the smaller box above which two are merged.
        largest_share: of the picture, from which on a box is dropped.

    Returns:
        float64[boxes, 4] y0, x0, y1, x1 in pixels, ends exclusive, highest peak first; none for a
        map of one value.
    """
    heat = np.asarray(heat, np.float64)
    low, high = heat.min(), heat.max()
    if not high > low:
        return np.zeros((0, 4))
    heat = (heat - low) / (high - low)
    large = enlarge(heat, height, width)
    boxes = []
    for row, column in local_peaks(heat, relative_threshold)[:most]:
        place = _pixel(row, len(heat), height), _pixel(column, heat.shape[1], width)
        box = _component_box(large > relative_threshold * heat[row, column], place)
        if box is not None:
            boxes.append(box)
    kept = [
        box for box in _merged(boxes, merged_overlap) if area(box) < largest_share * height * width
    ]
    return np.array(kept).reshape(-1, 4)


def local_peaks(heat: np.ndarray, relative_threshold: float) -> list[tuple[int, int]]:
    """Rows and columns of values that no neighbour exceeds, highest first, then in raster order.

    Args:
        heat: float64[rows, columns] with values above 0.
        relative_threshold: share of the highest value that a peak exceeds.

    Returns:
        Of neighbouring equal values the first; borders count.
    """
    peaks = heat == ndimage.maximum_filter(heat, size=3, mode="nearest")
    peaks &= heat > relative_threshold * heat.max()
    groups, count = ndimage.label(peaks, _NEIGHBOURS)
    flat = groups.ravel()
    firsts = [int(np.flatnonzero(flat == number)[0]) for number in range(1, count + 1)]
    firsts.sort(key=lambda place: (-heat.ravel()[place], place))
    return [divmod(place, heat.shape[1]) for place in firsts]


def _pixel(place: int, size: int, pixels: int) -> int:
    """The pixel nearest to the centre of a cell."""
    return int(np.clip(np.rint((place + 0.5) * pixels / size - 0.5), 0, pixels - 1))


def _component_box(hot: np.ndarray, place: tuple[int, int]) -> np.ndarray | None:
    """The box around the connected pixels of bool[height, width] that hold `place`, if any do."""
    groups, _ = ndimage.label(hot)
    number = groups[place]
    if not number:
        return None
    rows, columns = ndimage.find_objects(groups)[number - 1]
    return np.array([rows.start, columns.start, rows.stop, columns.stop], np.float64)


def _merged(boxes: list[np.ndarray], overlap: float) -> list[np.ndarray]:
    """Boxes of which no two share more than `overlap` of the smaller one."""
    boxes = list(boxes)
    place = 0
    while place < len(boxes):
        for other in range(place + 1, len(boxes)):
            smaller = min(area(boxes[place]), area(boxes[other]))
            if intersection(boxes[place], boxes[other]) > overlap * smaller:
                boxes[place] = union_box(np.stack([boxes[place], boxes.pop(other)]))
                # The larger box may overlap what it did not before.
                place = -1
                break
        place += 1
    return boxes
