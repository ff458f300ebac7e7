"""Spatial and colour augmentation; pictures change alike in all frames of a clip.

Crops are boxes of the stored frame, resized bilinearly afterwards; so only the box needs decoding.
Source: VATT, appendix A.2.1, and its reference presets.
"""

import tensorflow as tf

from mm_models.signal import frames as frame_ops
from mm_models.signal.frames import Box
from trainers.data import draw_columns

BRIGHTNESS_DELTA = 32.0 / 255.0
SATURATION_RANGE = (0.6, 1.4)
CONTRAST_RANGE = (0.6, 1.4)
HUE_DELTA = 0.2
SCALE_PROBABILITY = 0.8
SCALE_RANGE = (0.8, 1.2)


def training_box(
    style: str, frame_size: tf.Tensor, size: tuple[int, int], draws: tf.Tensor, seed: tf.Tensor
) -> Box:
    """The part of the frame a training clip shows.

    Args:
        style: `inception`, `vgg`, `random`, `center` or `resize`.
        frame_size: int32[2] height and width of the stored frames.
        size: height and width the box will be resized to.
        draws: float32[purposes] this example's uniform numbers.
        seed: int32[2] this example's seed.
    """
    height, width = frame_size[0], frame_size[1]
    if style == "resize":
        return Box(tf.constant(0), tf.constant(0), height, width)
    if style == "center":
        return frame_ops.center_box(height, width, *size)
    if style == "inception":
        return _inception_box(frame_size, seed)
    if style == "vgg":
        return _scaled_random_box(frame_size, size, draws)
    return _random_box(frame_size, tf.stack(frame_ops.fitting_size(height, width, *size)), draws)


def _inception_box(frame_size: tf.Tensor, seed: tf.Tensor) -> Box:
    """Area 8 to 100 % and aspect 1:2 to 2:1, up to 100 tries."""
    whole = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([frame_size, [3]], 0),
        whole,
        seed=seed,
        min_object_covered=0.1,
        aspect_ratio_range=(0.5, 2.0),
        area_range=(0.08, 1.0),
        max_attempts=100,
    )
    return Box(begin[0], begin[1], size[0], size[1])


def _scaled_random_box(frame_size: tf.Tensor, size: tuple[int, int], draws: tf.Tensor) -> Box:
    """Stretches height and width separately before a random crop."""
    low, high = SCALE_RANGE
    factors = low + (high - low) * tf.stack(
        [draws[draw_columns.SCALE_HEIGHT], draws[draw_columns.SCALE_WIDTH]]
    )
    factors = tf.where(draws[draw_columns.SCALE] < SCALE_PROBABILITY, factors, 1.0)
    stretched = tf.cast(frame_size, tf.float32) * factors
    box = tf.stack(frame_ops.fitting_size(stretched[0], stretched[1], *size))
    return _random_box(frame_size, box / factors, draws)


def _random_box(frame_size: tf.Tensor, box_size: tf.Tensor, draws: tf.Tensor) -> Box:
    """A box of `box_size: float32[2]` pixels anywhere in the frame."""
    box = frame_ops.whole_pixels(box_size, frame_size)
    places = tf.cast(frame_size - box + 1, tf.float32)
    draw = tf.stack([draws[draw_columns.CROP_TOP], draws[draw_columns.CROP_LEFT]])
    corner = tf.minimum(tf.cast(draw * places, tf.int32), frame_size - box)
    return Box(corner[0], corner[1], box[0], box[1])


def evaluation_boxes(
    style: str, frame_size: tf.Tensor, size: tuple[int, int], num_crops: int
) -> list[Box]:
    """The views evaluation takes: the whole frame, the centre, or both ends and the centre.

    Args:
        style: `resize` keeps the whole frame; every other one crops.
        frame_size: int32[2] height and width of the stored frames.
        size: height and width the boxes will be resized to.
        num_crops: 1, or 3 along the long side.
    """
    height, width = frame_size[0], frame_size[1]
    if style == "resize":
        return [Box(tf.constant(0), tf.constant(0), height, width)] * num_crops
    center = frame_ops.center_box(height, width, *size)
    if num_crops == 1:
        return [center]
    first = center._replace(top=tf.constant(0), left=tf.constant(0))
    last = center._replace(top=height - center.height, left=width - center.width)
    return [first, center, last]


def flip(frames: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """Mirrors half of the clips left to right.

    Args:
        frames: float32[frames, height, width, 3].
        draw: float32[] uniform in [0, 1).
    """
    return tf.cond(draw < 0.5, lambda: tf.reverse(frames, [2]), lambda: frames)


def color_jitter(frames: tf.Tensor, probability: float, draws: tf.Tensor) -> tf.Tensor:
    """Changes brightness, saturation, contrast and hue of a share of the clips.

    Args:
        frames: float32[frames, height, width, 3] in [-1, 1].
        probability: share of clips changed.
        draws: float32[purposes] this example's uniform numbers.

    Returns:
        float32[frames, height, width, 3] in [-1, 1].
    """
    return tf.cond(
        draws[draw_columns.JITTER] < probability, lambda: _jitter(frames, draws), lambda: frames
    )


def _jitter(frames: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    def between(low: float, high: float, purpose: int) -> tf.Tensor:
        return low + (high - low) * draws[purpose]

    frames = (frames + 1.0) / 2.0
    frames += between(-BRIGHTNESS_DELTA, BRIGHTNESS_DELTA, draw_columns.BRIGHTNESS)
    frames = tf.image.adjust_saturation(frames, between(*SATURATION_RANGE, draw_columns.SATURATION))
    frames = tf.image.adjust_contrast(frames, between(*CONTRAST_RANGE, draw_columns.CONTRAST))
    frames = tf.image.adjust_hue(frames, between(-HUE_DELTA, HUE_DELTA, draw_columns.HUE))
    return tf.clip_by_value(frames, 0.0, 1.0) * 2.0 - 1.0
