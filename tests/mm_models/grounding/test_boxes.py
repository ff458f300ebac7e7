"""Boxes around hot regions, against those of the evaluation and by hand."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.grounding.boxes import HeatBoxes, connected, heat_boxes, upsampled
from mm_models.metrics.boxes.proposals import propose_boxes

SIZE = (30, 44)


@tf.function(jit_compile=True)
def compiled(heat):
    return heat_boxes(heat, *SIZE)


def test_random_maps_have_the_boxes_of_the_evaluation():
    random = np.random.default_rng(0)
    maps = random.random((40, 6, 8)) ** random.integers(1, 12, (40, 1, 1))
    maps = np.where(random.random(maps.shape) < 0.3, 0.0, maps)
    # Plateaus, and peaks of one height.
    levels = np.array([0.0, 0.0971, 0.2683, 0.6127, 0.9419])
    maps[::2] = levels[random.integers(0, 5, maps[::2].shape)]
    found, counts = compiled(tf.constant(maps, tf.float32)), set()
    for number, heat in enumerate(maps.astype(np.float32)):
        expected = propose_boxes(heat, *SIZE)
        counts.add(len(expected))
        padded = np.zeros((3, 4))
        padded[: len(expected)] = expected / np.array([*SIZE, *SIZE])
        np.testing.assert_allclose(found.boxes[number], padded, atol=1e-6, err_msg=str(number))
        scores = found.scores[number].numpy()
        assert (scores[: len(expected)] > 0).all() and not scores[len(expected) :].any()
        assert (np.diff(scores) <= 0).all()
    assert counts == {0, 1, 2, 3}


def test_boxes_by_hand():
    """Two spots of one cell each, in rasters of four pixels a cell."""
    heat = np.zeros((1, 6, 8), np.float32)
    heat[0, 0, 0], heat[0, 4, 5] = 0.2, 0.4
    found = heat_boxes(tf.constant(heat), 24, 32)
    # A share of the peak greater than 0.3 remains up to 2.5 of 4 pixels from the middle of the
    # cell where one side is looked at; at a corner it spreads to the border.
    np.testing.assert_allclose(found.boxes[0] * [24, 32, 24, 32], [
        [16 - 1, 20 - 1, 20 + 1, 24 + 1], [0, 0, 4 + 1, 4 + 1], [0, 0, 0, 0]
    ], atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(found.scores[0], [0.4, 0.2, 0.0], atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_a_map_of_one_heat_has_no_box(level):
    found = heat_boxes(tf.fill([2, 5, 5], level), 20, 20)
    assert not np.any(found.boxes) and not np.any(found.scores)


def test_boxes_of_nearly_the_whole_picture_are_dropped_and_plateaus_are_one_box():
    heat = np.ones((2, 8, 8), np.float32)
    heat[0, 4, 4] = 0.0
    heat[1], heat[1, 2:5, 3:6] = 0.0, 1.0
    # What rounding does to equal heats does not change the box.
    heat[1, 3, 4] -= 2e-7
    boxes, scores = heat_boxes(tf.constant(heat), 8, 8)
    assert not np.any(boxes[0]) and not np.any(scores[0])
    np.testing.assert_allclose(boxes[1], [[2 / 8, 3 / 8, 5 / 8, 6 / 8], [0] * 4, [0] * 4])


def test_regions_hang_together_over_sides_alone_along_any_way():
    maze = ["#######.", "......#.", ".####.#.", ".#.##.#.", ".#....#.", ".######.", "#......#"]
    mask = np.array([[letter == "#" for letter in row] for row in maze])
    seeds = np.zeros((2, *mask.shape), bool)
    seeds[0, 0, 0] = seeds[1, 6, 0] = True
    found = connected(tf.constant(np.stack([mask] * 2)), tf.constant(seeds)).numpy()
    expected = mask.copy()
    expected[6] = False
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], seeds[1])


def test_upsampling_has_half_pixel_centres():
    heat = tf.constant([[0.0, 1.0], [0.0, 0.0]])
    first = [0, 0.25, 0.75, 1]
    expected = np.outer([1, 0.75, 0.25, 0], first)
    np.testing.assert_allclose(upsampled(heat, 4, 4), expected, atol=1e-6)
    assert isinstance(heat_boxes(heat[tf.newaxis], 4, 4), HeatBoxes)
