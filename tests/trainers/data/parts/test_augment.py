import numpy as np
import pytest
import tensorflow as tf

from trainers.data import draw_columns
from trainers.data.order.randomness import example_draws, example_seeds
from trainers.data.parts.video import augment

SIZE = (32, 32)


def _boxes(style, frame_size, size=SIZE, count=400):
    draws = example_draws(1, 2, np.arange(count), draw_columns.COUNT)
    seeds = example_seeds(1, 2, np.arange(count))
    one = tf.function(
        lambda draw, seed: tf.stack(
            augment.training_box(style, tf.constant(frame_size), size, draw, seed)
        )
    )
    return np.stack([one(*pair).numpy() for pair in zip(draws, seeds, strict=True)])


@pytest.mark.parametrize("style", ["inception", "vgg", "random", "center", "resize"])
def test_boxes_stay_inside_the_frame(style):
    boxes = _boxes(style, [40, 60])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= 1).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 40).all() and (boxes[:, 1] + boxes[:, 3] <= 60).all()


def test_inception_boxes_cover_the_stated_ranges():
    boxes = _boxes("inception", [100, 100])
    area = boxes[:, 2] * boxes[:, 3] / 10_000
    aspect = boxes[:, 3] / boxes[:, 2]
    # Whole pixels move the bounds a little; at least a tenth of the object, the frame, is covered.
    assert area.min() > 0.08 and area.min() < 0.2 and area.max() > 0.9
    assert 0.48 < aspect.min() < 0.6 and 1.7 < aspect.max() < 2.1


def test_random_and_center_boxes_are_the_largest_of_the_aspect():
    random = _boxes("random", [40, 60])
    assert (random[:, 2:] == 40).all() and (random[:, 0] == 0).all()
    assert set(random[:, 1]) == set(range(21))
    assert (_boxes("center", [40, 60], count=1) == [[0, 10, 40, 40]]).all()
    # Wide crops of square frames: 32 x 16 fits as 40 x 20.
    assert (_boxes("center", [40, 40], (16, 32), count=1) == [[10, 0, 20, 40]]).all()
    assert (_boxes("resize", [40, 60], count=1) == [[0, 0, 40, 60]]).all()


def test_vgg_scales_height_and_width_separately_in_four_of_five_clips():
    boxes = _boxes("vgg", [100, 100], count=600)
    untouched = ((boxes[:, 2] == 100) & (boxes[:, 3] == 100)).mean()
    assert abs(untouched - 0.2) < 0.06
    # One side always spans the frame; the other is shrunk by the ratio of the two factors.
    assert (boxes[:, 2:].max(axis=1) == 100).all()
    assert 66 <= boxes[:, 2:].min() <= 72
    shrunk = boxes[(boxes[:, 2:] < 99).any(axis=1)]
    assert abs((shrunk[:, 2] < shrunk[:, 3]).mean() - 0.5) < 0.1


def test_three_crops_take_both_ends_and_the_centre():
    wide = augment.evaluation_boxes("vgg", tf.constant([40, 100]), SIZE, 3)
    tall = augment.evaluation_boxes("vgg", tf.constant([100, 40]), SIZE, 3)
    assert [[int(value) for value in box] for box in wide] == [
        [0, 0, 40, 40],
        [0, 30, 40, 40],
        [0, 60, 40, 40],
    ]
    assert [[int(value) for value in box] for box in tall] == [
        [0, 0, 40, 40],
        [30, 0, 40, 40],
        [60, 0, 40, 40],
    ]


def test_flip_mirrors_half_of_the_clips_and_all_of_their_frames():
    frames = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(augment.flip(frames, tf.constant(0.49)), frames[:, :, ::-1])
    np.testing.assert_array_equal(augment.flip(frames, tf.constant(0.5)), frames)


def _reference_jitter(frames, draws):
    """float64 NumPy reference without the hue, which is checked apart."""
    x = (frames.astype(np.float64) + 1) / 2
    x = x + (2 * draws[draw_columns.BRIGHTNESS] - 1) * 32 / 255
    # Saturation in HSV: the largest channel stays, the others move away from or towards it.
    top = x.max(axis=-1, keepdims=True)
    low = x.min(axis=-1, keepdims=True)
    saturation = np.where(top > 0, (top - low) / top, 0)
    factor = np.clip(saturation * (0.6 + 0.8 * draws[draw_columns.SATURATION]), 0, 1)
    x = top - (top - x) * factor / np.where(saturation > 0, saturation, 1)
    mean = x.mean(axis=(1, 2), keepdims=True)
    x = mean + (x - mean) * (0.6 + 0.8 * draws[draw_columns.CONTRAST])
    return np.clip(x, 0, 1) * 2 - 1


def test_color_jitter_equals_the_reference():
    frames = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 6, 6, 3)).astype(np.float32)
    for row in example_draws(4, 0, np.arange(5), draw_columns.COUNT):
        # The middle of the hue range leaves hues alone.
        row[draw_columns.HUE], row[draw_columns.JITTER] = 0.5, 0.0
        found = augment.color_jitter(frames, 0.8, tf.constant(row))
        np.testing.assert_allclose(found, _reference_jitter(frames, row), atol=2e-3)


def test_hue_turns_by_at_most_a_fifth_and_alike_in_all_frames():
    frame = np.zeros((1, 2, 2, 3), np.float32)
    frame[..., 0] = 0.5
    frames = np.repeat(frame, 3, axis=0)
    draws = np.full(draw_columns.COUNT, 0.5, np.float32)
    draws[[draw_columns.JITTER, draw_columns.HUE]] = 0.0, 1.0
    found = augment.color_jitter(frames, 0.8, tf.constant(draws)).numpy()
    # From hue 0 by a fifth of the circle: 1.2 sixths, so green leads, and red has fallen by a fifth
    # of the chroma from its top.
    values = (found[0, 0, 0] + 1) / 2
    np.testing.assert_allclose(values, [0.7, 0.75, 0.5], atol=5e-3)
    assert (found == found[0]).all()


def test_a_fifth_of_the_clips_stays_untouched_and_all_stay_in_range():
    frames = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 3)).astype(np.float32)
    jitter = tf.function(lambda draw: augment.color_jitter(frames, 0.8, draw))
    results = [
        jitter(row).numpy() for row in example_draws(9, 0, np.arange(500), draw_columns.COUNT)
    ]
    untouched = np.mean([np.array_equal(result, frames) for result in results])
    assert abs(untouched - 0.2) < 0.06
    assert np.abs(results).max() <= 1.0
