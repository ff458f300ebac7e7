"""Boxes around hot regions, against a plain search of pixels and by hand."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.grounding.boxes import HeatBoxes, connected, heat_boxes, upsampled

SIZE = (30, 44)


@tf.function(jit_compile=True)
def compiled(heat):
    return heat_boxes(heat, *SIZE)


def searched(heat, height, width):
    """The same of float[rows, columns], pixel by pixel."""
    lowest, highest = heat.min(), heat.max()
    if lowest == highest:
        return np.zeros((3, 4)), np.zeros(3)
    stretched = (heat - lowest) / (highest - lowest)
    fine = np.asarray(upsampled(tf.constant(stretched, tf.float32), height, width))
    around = np.pad(stretched, 1, constant_values=-1.0)
    peaks = [
        (-stretched[r, c], r, c)
        for r, c in np.ndindex(stretched.shape)
        if stretched[r, c] > 0.3 and stretched[r, c] >= around[r : r + 3, c : c + 3].max() - 1e-7
    ]
    found = []
    for level, row, column in sorted(peaks)[:3]:
        seed = (
            (2 * row + 1) * height // (2 * len(heat)),
            (2 * column + 1) * width // (2 * heat.shape[1]),
        )
        region, waiting = {seed}, [seed]
        while waiting:
            y, x = waiting.pop()
            for place in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= place[0] < height and 0 <= place[1] < width
                if inside and place not in region and fine[place] > -0.3 * level:
                    region.add(place)
                    waiting.append(place)
        places = np.array(list(region))
        box = [*places.min(axis=0), *(places.max(axis=0) + 1)]
        found.append([np.array(box, float), heat[row, column]])
    merged = []
    for box, score in found:
        for other in merged:
            shared = np.minimum(box[2:], other[0][2:]) - np.maximum(box[:2], other[0][:2])
            if shared.clip(0).prod() > 0.6 * (box[2:] - box[:2]).prod():
                edges = np.minimum(box, other[0])[:2], np.maximum(box, other[0])[2:]
                other[0] = np.concatenate(edges)
                break
        else:
            merged.append([box, score])
    size = np.array([height, width, height, width])
    kept = [(b / size, s) for b, s in merged if (b[2:] - b[:2]).prod() < 0.9 * height * width]
    kept += [(np.zeros(4), 0.0)] * (3 - len(kept))
    return tuple(np.array(part) for part in zip(*kept, strict=True))


def test_random_maps_have_the_boxes_of_a_plain_search():
    random = np.random.default_rng(0)
    maps = random.random((60, 6, 8)) ** random.integers(1, 12, (60, 1, 1))
    maps = np.where(random.random(maps.shape) < 0.3, 0.0, maps).astype(np.float32)
    found = compiled(tf.constant(maps))
    counts = []
    for number, heat in enumerate(maps):
        boxes, scores = searched(heat, *SIZE)
        np.testing.assert_allclose(found.boxes[number], boxes, atol=1e-6, err_msg=str(number))
        np.testing.assert_allclose(found.scores[number], scores, atol=1e-6)
        counts.append(np.count_nonzero(scores))
    assert set(counts) == {0, 1, 2, 3}


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
