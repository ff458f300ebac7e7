"""Boxes around where a heat map is hot."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mm_models.signal.resize_maps import resize_maps

NUM_BOXES = 3
# Of the normalised map: what a peak exceeds, and the share of a peak that its region exceeds.
LEAST_PEAK = 0.3
REGION_SHARE = 0.3
# Share of the smaller of two boxes that lies in the other, beyond which they become one.
MERGED_OVERLAP = 0.6
# Boxes of this share of the picture say nothing.
LARGEST_AREA = 0.9
# What rounding may add to or take from a normalised map.
ROUNDING = 1e-5
_PAIRS = tuple(itertools.combinations(range(NUM_BOXES), 2))
Choice = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class HeatBoxes(NamedTuple):
    """Boxes by their peaks, highest first; zeros behind the last one.

    Attributes:
        boxes: float32[batch, 3, 4] top, left, bottom and right as shares of the picture.
        scores: float32[batch, 3] heat of the peaks.
    """

    boxes: tf.Tensor
    scores: tf.Tensor


def upsampled(heat: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """float32[..., height, width] of float32[..., rows, columns], bilinear, with half-pixel
    centres."""
    return resize_maps(heat[..., tf.newaxis], height, width)[..., 0]


def heat_boxes(heat: tf.Tensor, height: int, width: int) -> HeatBoxes:
    """Boxes around the regions of the three highest peaks of heat maps; compiles with XLA.

    A map is stretched from 0 to 1. A peak is a region above 0.3 that none of the eight around it
    exceeds, on the border too, of neighbouring equal ones the first; in a map of one heat there is
    none. Around it lies what exceeds 0.3 of its height in the upsampled map and hangs together with
    it, side by side. Boxes of which one lies mostly in the other become the box around both, and
    those of nearly the whole picture are dropped.

    Args:
        heat: float32[batch, rows, columns].
        height, width: pixels that the maps are upsampled to, of whose raster the boxes are.

    Source: `propose_boxes` (mm_models/metrics/boxes/proposals.py), which does the same.
    """
    lowest = tf.reduce_min(heat, axis=[1, 2], keepdims=True)
    highest = tf.reduce_max(heat, axis=[1, 2], keepdims=True)
    stretched = tf.math.divide_no_nan(heat - lowest, highest - lowest)
    peaks, places = _highest_peaks(stretched)
    fine = upsampled(stretched, height, width)[:, tf.newaxis]
    levels = peaks[:, :, tf.newaxis, tf.newaxis]
    hot = (fine > REGION_SHARE * levels) & (levels > 0)  # [batch, boxes, height, width]
    seeds = _pixels(places, heat.shape[1:], height, width) & hot
    shape = [-1, height, width]
    regions = connected(tf.reshape(hot, shape), tf.reshape(seeds, shape))
    edges = _bounds(tf.reshape(regions, [-1, NUM_BOXES, height, width]))
    kept, edges = _merged(edges, tf.reduce_any(seeds, axis=[2, 3]))
    kept &= _area(edges) < LARGEST_AREA * height * width
    order = tf.argsort(tf.cast(~kept, tf.int32), axis=1, stable=True)
    scores = peaks * (highest - lowest)[:, :, 0] + lowest[:, :, 0]
    found = tf.cast(kept, tf.float32)
    sides = tf.constant([height, width, height, width], tf.float32)
    return HeatBoxes(
        tf.gather(edges / sides * found[:, :, tf.newaxis], order, batch_dims=1),
        tf.gather(scores * found, order, batch_dims=1),
    )


def connected(mask: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """What of a mask can be reached from the seeds over neighbours side by side.

    Every pass fills whole runs of rows, then of columns, so that there are as many passes as the
    longest way has bends.

    Args:
        mask, seeds: bool[batch, height, width]; seeds lie in the mask.

    Returns:
        bool[batch, height, width].
    """
    across, down = _runs(mask), _runs(tf.transpose(mask, [0, 2, 1]))

    def fill(reached: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wider = _fill_runs(reached, *across)
        wider = tf.transpose(_fill_runs(tf.transpose(wider, [0, 2, 1]), *down), [0, 2, 1])
        wider &= mask
        return wider, tf.reduce_any(wider != reached)

    reached, _ = tf.while_loop(lambda _, grew: grew, fill, (seeds, tf.constant(True)))
    return reached


def _highest_peaks(stretched: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """float32[batch, 3] heights, 0 where there is no further peak, and int32[batch, 3] places in
    the flat map; of equal ones the first."""
    # What is equal but for rounding is equal: a plateau is a peak on every device.
    is_peak = (stretched >= _largest_around(stretched) - ROUNDING) & (stretched > LEAST_PEAK)
    firsts = tf.where(is_peak & _is_first(is_peak), stretched, 0.0)
    flat = tf.reshape(firsts, [-1, stretched.shape[1] * stretched.shape[2]])
    found = tf.math.top_k(tf.pad(flat, [[0, 0], [0, NUM_BOXES]]), NUM_BOXES)
    return found.values, tf.where(found.values > 0, found.indices, 0)


def _is_first(mask: tf.Tensor) -> tf.Tensor:
    """bool[batch, rows, columns]: places of a mask before all others of it that they hang together
    with, over sides or corners."""
    rows, columns = mask.shape[1:]
    # The earlier, the larger; all are above 0.
    ranks = tf.reshape(tf.range(rows * columns, 0, -1, dtype=tf.float32), [1, rows, columns])
    own = tf.where(mask, ranks, 0.0)

    def spread(best: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wider = tf.where(mask, _largest_around(best), 0.0)
        return wider, tf.reduce_any(wider != best)

    best, _ = tf.while_loop(lambda _, grew: grew, spread, (own, tf.constant(True)))
    return best == own


def _largest_around(maps: tf.Tensor) -> tf.Tensor:
    """float32[batch, rows, columns]: the largest of each place and the eight around it."""
    return tf.nn.max_pool2d(maps[..., tf.newaxis], 3, 1, "SAME")[..., 0]


def _pixels(places: tf.Tensor, grid: tf.TensorShape, height: int, width: int) -> tf.Tensor:
    """bool[batch, boxes, height, width]: the pixel nearest to the middle of each place of a flat
    map."""
    rows, columns = _nearest_pixels(grid[0], height), _nearest_pixels(grid[1], width)
    is_row = tf.range(height) == tf.gather(rows, places // grid[1])[..., tf.newaxis]
    is_column = tf.range(width) == tf.gather(columns, places % grid[1])[..., tf.newaxis]
    return is_row[..., tf.newaxis] & is_column[..., tf.newaxis, :]


def _nearest_pixels(size: int, pixels: int) -> np.ndarray:
    """int32[size]: the pixel nearest to the middle of each place in a row."""
    middles = (np.arange(size) + 0.5) * pixels / size - 0.5
    return np.rint(middles).clip(0, pixels - 1).astype(np.int32)


def _runs(mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """int32[batch, rows, columns] twice: where the run of a row that a place of the mask belongs to
    begins, and the place behind its end."""
    count = mask.shape[2]
    # From the left and from the right, the place behind the nearest one that is not of the mask.
    both = tf.stack([mask, tf.reverse(mask, [2])])
    from_left, from_right = tf.unstack(_running_max(tf.where(both, 0, tf.range(count) + 1)))
    return from_left, count - tf.reverse(from_right, [2])


def _running_max(values: tf.Tensor) -> tf.Tensor:
    """int32[..., places]: the largest of a row's values so far, none below 0."""
    step = 1
    while step < values.shape[-1]:
        shifted = tf.pad(values[..., :-step], [[0, 0]] * (values.shape.rank - 1) + [[step, 0]])
        values, step = tf.maximum(values, shifted), 2 * step
    return values


def _fill_runs(reached: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """bool[batch, rows, columns]: places whose run holds a place that is reached."""
    counts = tf.pad(tf.cumsum(tf.cast(reached, tf.int32), axis=2), [[0, 0], [0, 0], [1, 0]])
    ends = tf.maximum(starts, ends)
    return tf.gather(counts, ends, batch_dims=2) > tf.gather(counts, starts, batch_dims=2)


def _bounds(regions: tf.Tensor) -> tf.Tensor:
    """float32[batch, boxes, 4] in pixels, around bool[batch, boxes, height, width]; zeros around
    nothing."""
    top, bottom = _ends(tf.reduce_any(regions, axis=3))
    left, right = _ends(tf.reduce_any(regions, axis=2))
    return tf.cast(tf.stack([top, left, bottom, right], axis=-1), tf.float32)


def _ends(held: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """int32[...]: the first place of bool[..., places] and the one behind the last; 0 for none."""
    numbers = tf.cast(held, tf.int32)
    first = tf.argmax(numbers, axis=-1, output_type=tf.int32)
    from_end = tf.argmax(tf.reverse(numbers, [-1]), axis=-1, output_type=tf.int32)
    return first, tf.where(tf.reduce_any(held, axis=-1), held.shape[-1] - from_end, 0)


def _merged(boxes: tf.Tensor, there: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """bool[batch, boxes], which are left, and float32[batch, boxes, 4], those grown.

    As long as two boxes lie mostly in each other, the first such pair becomes the box of its first
    one.
    """
    firsts, seconds = zip(*_PAIRS, strict=True)
    places = tf.range(NUM_BOXES)
    for _ in range(NUM_BOXES - 1):
        # [batch, pairs, 4]
        first, second = tf.gather(boxes, firsts, axis=1), tf.gather(boxes, seconds, axis=1)
        shared = _area(_corners(first, second, tf.maximum, tf.minimum))
        around = _corners(first, second, tf.minimum, tf.maximum)
        joins = shared > MERGED_OVERLAP * tf.minimum(_area(first), _area(second))
        joins &= tf.gather(there, firsts, axis=1) & tf.gather(there, seconds, axis=1)
        pair = tf.argmax(tf.cast(joins, tf.int32), axis=1, output_type=tf.int32)
        is_any = tf.reduce_any(joins, axis=1, keepdims=True)
        # [batch, boxes]
        grows = is_any & (places == tf.gather(firsts, pair)[:, tf.newaxis])
        there &= ~(is_any & (places == tf.gather(seconds, pair)[:, tf.newaxis]))
        grown = tf.gather(around, pair, batch_dims=1)[:, tf.newaxis]
        boxes = tf.where(grows[:, :, tf.newaxis], grown, boxes)
    return there, boxes


def _corners(first: tf.Tensor, second: tf.Tensor, upper: Choice, lower: Choice) -> tf.Tensor:
    """float32[..., 4] of both boxes' upper left and lower right corners."""
    (upper_left, lower_right), (others, ends) = tf.split(first, 2, -1), tf.split(second, 2, -1)
    return tf.concat([upper(upper_left, others), lower(lower_right, ends)], axis=-1)


def _area(boxes: tf.Tensor) -> tf.Tensor:
    """float32[...] of float32[..., 4], 0 where an edge lies beyond its opposite."""
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]
