"""From sampled bytes to model inputs, one example at a time; runs inside the batch's graph."""

import tensorflow as tf

from mm_models.signal import frames as frame_ops
from trainers.data import draw_columns
from trainers.data.parts.video import augment
from trainers.data.parts.video.config import VideoInputConfig

# Above this many frames a loop replaces one decoding op per frame, to keep the graph small.
_MAX_UNROLLED_FRAMES = 64


def training_clip(
    video: VideoInputConfig, encoded: tf.Tensor, draws: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Decodes, crops and augments one training window.

    Args:
        video: size and augmentation.
        encoded: string[frames] pictures of the window.
        draws: float32[purposes] this example's uniform numbers.
        seed: int32[2] this example's seed.

    Returns:
        float32[1, frames, height, width, 3] in [-1, 1].
    """
    size = (video.height, video.width)

    def from_jpegs() -> tf.Tensor:
        frame_size = tf.io.extract_jpeg_shape(encoded[0])[:2]
        box = augment.training_box(video.crop, frame_size, size, draws, seed)
        frames = _for_each(encoded, lambda frame: frame_ops.decode_jpeg_box(frame, box))
        return frame_ops.resize(frames, *size)

    def from_pictures() -> tf.Tensor:
        frames = _for_each(encoded, frame_ops.decode_picture)
        box = augment.training_box(video.crop, tf.shape(frames)[1:3], size, draws, seed)
        return frame_ops.resize(frame_ops.crop(frames, box), *size)

    frames = tf.cond(frame_ops.are_jpegs(encoded), from_jpegs, from_pictures)
    frames = frame_ops.to_model_range(frames)
    if video.flip:
        frames = augment.flip(frames, draws[draw_columns.FLIP])
    if video.color_jitter_probability:
        frames = augment.color_jitter(frames, video.color_jitter_probability, draws)
    return frames[tf.newaxis]


def evaluation_views(video: VideoInputConfig, encoded: tf.Tensor) -> tf.Tensor:
    """Decodes the windows of one clip and cuts the evaluation crops.

    Args:
        video: size, windows and crops.
        encoded: string[windows * frames] pictures.

    Returns:
        float32[windows * crops, frames, height, width, 3] in [-1, 1], crops of a window adjacent.
    """
    size = (video.height, video.width)
    frames = _for_each(encoded, frame_ops.decode_picture)
    boxes = augment.evaluation_boxes(video.crop, tf.shape(frames)[1:3], size, video.num_crops)
    views = [frame_ops.resize(frame_ops.crop(frames, box), *size) for box in boxes]
    shape = [video.num_windows, video.num_frames, *size, 3]
    views = tf.stack([tf.reshape(view, shape) for view in views], axis=1)
    return frame_ops.to_model_range(tf.reshape(views, [-1, *shape[1:]]))


def _for_each(encoded: tf.Tensor, decode) -> tf.Tensor:
    """Applies `decode` to every frame: uint8[frames, height, width, 3]."""
    if encoded.shape[0] <= _MAX_UNROLLED_FRAMES:
        return tf.stack([decode(frame) for frame in tf.unstack(encoded)])
    return tf.map_fn(decode, encoded, fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8))
