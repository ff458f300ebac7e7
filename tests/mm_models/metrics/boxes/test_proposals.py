"""Boxes from heat maps, on maps whose boxes can be told by hand."""

import numpy as np

from mm_models.metrics.boxes.proposals import local_peaks, propose_boxes


def _at_own_size(heat, **options) -> list[list[float]]:
    """Where the map is as large as the picture, pixels are its cells."""
    return propose_boxes(heat, *heat.shape, **options).tolist()


def test_peaks_are_found_at_borders_and_plateaus_once():
    heat = np.zeros((5, 6))
    heat[0, 0] = 0.8
    heat[2, 2:4] = 1.0
    heat[4, 5] = 0.3
    assert local_peaks(heat, 0.3) == [(2, 2), (0, 0)]
    assert local_peaks(heat, 0.2) == [(2, 2), (0, 0), (4, 5)]


def test_each_peak_has_the_box_of_what_is_connected_to_it():
    heat = np.zeros((6, 8))
    heat[0:2, 0:3] = 0.5
    heat[0, 0] = 1.0
    heat[4:6, 5:8] = 0.2
    heat[5, 7] = 0.4
    # 0.5 exceeds 0.3 of 1, 0.2 exceeds 0.3 of 0.4.
    assert _at_own_size(heat) == [[0, 0, 2, 3], [4, 5, 6, 8]]
    assert _at_own_size(heat, most=1) == [[0, 0, 2, 3]]
    assert _at_own_size(heat, relative_threshold=0.55) == [[0, 0, 1, 1]]
    # Twice as large a picture has twice as large boxes, but for what interpolation blurs.
    large = propose_boxes(heat, 12, 16)
    assert np.abs(large - 2 * np.array([[0, 0, 2, 3], [4, 5, 6, 8]])).max() <= 1


def test_boxes_within_others_are_merged_and_those_of_the_whole_picture_dropped():
    heat = np.zeros((10, 10))
    heat[1:9, 1] = heat[1, 1:9] = np.linspace(1.0, 0.4, 8)
    heat[5, 5] = 0.9
    # The second box lies in the first one.
    assert _at_own_size(heat) == [[1, 1, 9, 9]]
    assert _at_own_size(heat, merged_overlap=1.0) == [[1, 1, 9, 9], [5, 5, 6, 6]]
    assert _at_own_size(heat, largest_share=0.64) == []
    assert _at_own_size(np.full((4, 4), 0.7)) == [] and _at_own_size(np.zeros((4, 4))) == []
