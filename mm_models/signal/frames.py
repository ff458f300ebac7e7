"""Video frames inside graphs: decode, crop, resize, scale. Training and export run the same ops."""

from typing import NamedTuple

import tensorflow as tf

_JPEG_START = b"\xff\xd8\xff"

# Below this, in the models' range of pixel values, a clip is as good as still.
LEAST_DEVIATION = 1e-3


class Box(NamedTuple):
    """A rectangle of whole pixels, each field int32[].

    Attributes:
        top, left: corner.
        height, width: size, at least one pixel.
    """

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor


def are_jpegs(encoded: tf.Tensor) -> tf.Tensor:
    """bool[]: whether all of `encoded: string[frames]` begin as JPEGs do."""
    return tf.reduce_all(tf.strings.substr(encoded, 0, len(_JPEG_START)) == _JPEG_START)


def decode_picture(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one picture.

    Args:
        encoded: string[] content of a JPEG file, or of a PNG or single GIF, in colour or grey.

    Returns:
        uint8[height, width, 3] RGB.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no whole picture of these kinds.
    """
    image = tf.io.decode_jpeg(encoded, channels=3)
    image.set_shape([None, None, 3])
    return image


def decode_jpeg_box(encoded: tf.Tensor, box: Box) -> tf.Tensor:
    """Decodes only the box of one JPEG, which costs less; equal to cropping the decoded frame.

    Args:
        encoded: string[] JPEG file content.
        box: pixels to keep, inside the frame.

    Returns:
        uint8[box.height, box.width, 3] RGB.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no whole JPEG.
    """
    image = tf.io.decode_and_crop_jpeg(encoded, tf.stack(box), channels=3)
    image.set_shape([None, None, 3])
    return image


def fitting_size(
    frame_height: tf.Tensor, frame_width: tf.Tensor, height: int, width: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Size of the largest rectangle of the aspect height:width that a frame holds.

    It is what a crop of `height` x `width` covers after the frame's short side was resized to fit.

    Args:
        frame_height: int32[] or float32[] pixels.
        frame_width: int32[] or float32[] pixels.
        height: pixels of the crop.
        width: pixels of the crop.

    Returns:
        float32[] height and float32[] width, not rounded.
    """
    frame_height = tf.cast(frame_height, tf.float32)
    frame_width = tf.cast(frame_width, tf.float32)
    scale = tf.maximum(height / frame_height, width / frame_width)
    return height / scale, width / scale


def center_box(frame_height: tf.Tensor, frame_width: tf.Tensor, height: int, width: int) -> Box:
    """The central box of the aspect height:width, as large as the frame allows.

    Args:
        frame_height: int32[] pixels.
        frame_width: int32[] pixels.
        height: pixels of the crop this box will be resized to.
        width: pixels of the crop this box will be resized to.
    """
    box_height, box_width = fitting_size(frame_height, frame_width, height, width)
    box_height = whole_pixels(box_height, frame_height)
    box_width = whole_pixels(box_width, frame_width)
    return Box(
        (frame_height - box_height) // 2, (frame_width - box_width) // 2, box_height, box_width
    )


def whole_pixels(size: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    """Rounds `size: float32[...]` to int32 pixels in [1, limit]."""
    return tf.clip_by_value(tf.cast(tf.round(size), tf.int32), 1, limit)


def resize(frames: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Bilinear resize with half-pixel centres; frames of the right size pass unchanged.

    Args:
        frames: uint8[frames, any, any, 3] or float32 likewise, values in [0, 255].
        height: pixels.
        width: pixels.

    Returns:
        float32[frames, height, width, 3] in [0, 255].
    """
    shape = tf.shape(frames)
    resized = tf.cond(
        tf.logical_and(tf.equal(shape[1], height), tf.equal(shape[2], width)),
        lambda: tf.cast(frames, tf.float32),
        lambda: tf.image.resize(frames, [height, width]),
    )
    return tf.ensure_shape(resized, [frames.shape[0], height, width, 3])


def resize_short_side_and_center_crop(frames: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes until the crop just fits, and keeps the centre: the view evaluation uses.

    The crop comes first and the resize second, which touches only pixels that are kept.

    Args:
        frames: uint8[frames, any, any, 3].
        height: pixels.
        width: pixels.

    Returns:
        float32[frames, height, width, 3] in [0, 255].
    """
    shape = tf.shape(frames)
    box = center_box(shape[1], shape[2], height, width)
    return resize(crop(frames, box), height, width)


def crop(frames: tf.Tensor, box: Box) -> tf.Tensor:
    """Cuts the same box out of all frames: dtype[frames, box.height, box.width, 3]."""
    bottom, right = box.top + box.height, box.left + box.width
    return frames[:, box.top : bottom, box.left : right, :]


def standardize(clips: tf.Tensor) -> tf.Tensor:
    """Subtracts every pixel's mean over time and divides by the clip's standard deviation.

    What stands still is gone and what moves has the same size in every clip, however small the part
    of the picture that moves. A still clip gives zeros.

    Args:
        clips: float[batch, frames, height, width, channels].

    Returns:
        float[batch, frames, height, width, channels] of mean 0; of standard deviation 1 in each
        clip that is not still.
    """
    moving = clips - tf.reduce_mean(clips, axis=1, keepdims=True)
    deviation = tf.math.reduce_std(moving, axis=[1, 2, 3, 4], keepdims=True)
    return moving / tf.maximum(deviation, LEAST_DEVIATION)


def to_model_range(frames: tf.Tensor) -> tf.Tensor:
    """Maps pixel values to what the models take: value * 2 / 255 - 1.

    Args:
        frames: uint8[...] or float32[...] in [0, 255].

    Returns:
        float32[...] in [-1, 1].
    """
    return tf.cast(frames, tf.float32) * (2.0 / 255.0) - 1.0
