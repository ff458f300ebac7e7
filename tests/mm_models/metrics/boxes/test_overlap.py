"""Areas and overlaps of boxes, against numbers worked out by hand and pixels counted."""

import numpy as np
import pytest

from mm_models.metrics.boxes import overlap


def test_iou_of_boxes_by_hand():
    # 2 x 2 and 2 x 4 share 1 x 2: 2 / (4 + 8 - 2).
    assert overlap.iou([0, 0, 2, 2], [1, 0, 3, 4]) == pytest.approx(0.2)
    assert overlap.iou([0, 0, 2, 2], [0, 0, 2, 2]) == 1.0
    assert overlap.iou([0, 0, 2, 2], [2, 0, 3, 3]) == 0.0
    assert overlap.iou(np.zeros(4), np.zeros(4)) == 0.0


def test_union_box_and_containment():
    boxes = np.array([[1, 5, 2, 6], [0, 6, 1, 9]])
    np.testing.assert_array_equal(overlap.union_box(boxes), [0, 5, 2, 9])
    np.testing.assert_array_equal(overlap.union_box(boxes[:0]), np.zeros(4))
    # Borders are inside; the union box holds more than the boxes.
    assert overlap.contain(boxes, (1, 6)) and overlap.contain(boxes, (0, 9))
    assert not overlap.contain(boxes, (1.5, 8)) and not overlap.contain(boxes[:0], (0, 0))


def test_covered_area_counts_every_pixel_once():
    random = np.random.default_rng(3)
    for count in (0, 1, 2, 5):
        corners = np.sort(random.integers(0, 12, (count, 2, 2)), axis=1)
        boxes = corners.reshape(count, 4)
        pixels = np.zeros((12, 12), bool)
        for y0, x0, y1, x1 in boxes:
            pixels[y0:y1, x0:x1] = True
        assert overlap.covered_area(boxes) == pixels.sum()
