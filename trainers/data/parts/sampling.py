"""Which part of a clip is used: windows of frames and of sound, in step with each other."""

import numpy as np
import tensorflow as tf

from mm_models.signal import windows
from trainers.data import draw_columns
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.video.config import VideoInputConfig


def random_offset(length: tf.Tensor, num_steps: int, stride: int, draw: tf.Tensor) -> tf.Tensor:
    """Uniform start of a window that stays inside, where it fits.

    Args:
        length: int32[batch] steps of the sequence.
        num_steps: steps in the window.
        stride: sequence steps between two window steps.
        draw: float32[batch] uniform in [0, 1).

    Returns:
        int32[batch], uniform over [0, max(length - (num_steps - 1) * stride, 1)).
    """
    choices = tf.maximum(length - (num_steps - 1) * stride, 1)
    # The product may round up to `choices` for draws close to 1.
    return tf.minimum(tf.cast(draw * tf.cast(choices, tf.float32), tf.int32), choices - 1)


def spread_offsets(length: tf.Tensor, num_steps: int, stride: int, num_windows: int) -> tf.Tensor:
    """Starts of evaluation windows: the centre for one, else spread from start to end.

    Args:
        length: int32[batch] steps of the sequence.
        num_steps: steps in a window.
        stride: sequence steps between two window steps.
        num_windows: windows.

    Returns:
        int32[batch, num_windows], rounded down.
    """
    if num_windows == 1:
        return windows.central_offset(length, num_steps, stride)[:, tf.newaxis]
    last = tf.maximum(length - num_steps * stride, 0)
    return tf.range(num_windows) * last[:, tf.newaxis] // (num_windows - 1)


def video_offsets(
    video: VideoInputConfig, num_frames: tf.Tensor, draws: tf.Tensor, *, training: bool
) -> tf.Tensor:
    """First frame of each window: int32[batch, windows].

    Args:
        video: window size, stride and count.
        num_frames: int32[batch] stored frames.
        draws: float32[batch, purposes] uniform numbers.
        training: one random window instead of the evaluation windows.
    """
    if not training:
        return spread_offsets(num_frames, video.num_frames, video.frame_stride, video.num_windows)
    draw = draws[:, draw_columns.VIDEO_TIME]
    return random_offset(num_frames, video.num_frames, video.frame_stride, draw)[:, tf.newaxis]


def audio_offsets(
    audio: AudioInputConfig, num_samples: tf.Tensor, draws: tf.Tensor, *, num_windows: int
) -> tf.Tensor:
    """First sample of each window, regardless of the video: int32[batch, windows].

    Args:
        audio: window size and stride.
        num_samples: int32[batch] stored samples.
        draws: float32[batch, purposes] uniform numbers.
        num_windows: evaluation windows, or 0 for one random window.
    """
    if num_windows:
        return spread_offsets(num_samples, audio.num_samples, audio.sample_stride, num_windows)
    draw = draws[:, draw_columns.AUDIO_TIME]
    return random_offset(num_samples, audio.num_samples, audio.sample_stride, draw)[:, tf.newaxis]


def in_step(
    video_offset: tf.Tensor,
    num_frames: tf.Tensor,
    frame_rate_hz: tf.Tensor,
    num_samples: tf.Tensor,
    sample_rate_hz: tf.Tensor,
) -> tf.Tensor:
    """The sample that sounds when a frame shows.

    By time where the record tells both rates, else at the same fraction of the clip.

    Args:
        video_offset: int32[batch] frame.
        num_frames: int32[batch] stored frames.
        frame_rate_hz: float32[batch], 0 when unknown.
        num_samples: int32[batch] stored samples.
        sample_rate_hz: float32[batch], 0 when unknown.

    Returns:
        int32[batch] in [0, num_samples).
    """
    offset = tf.cast(video_offset, tf.float32)
    by_time = tf.math.divide_no_nan(offset, frame_rate_hz) * sample_rate_hz
    fraction = tf.math.divide_no_nan(offset, tf.cast(num_frames, tf.float32))
    by_fraction = fraction * tf.cast(num_samples, tf.float32)
    known = tf.logical_and(frame_rate_hz > 0, sample_rate_hz > 0)
    start = tf.cast(tf.round(tf.where(known, by_time, by_fraction)), tf.int32)
    return tf.clip_by_value(start, 0, tf.maximum(num_samples - 1, 0))


def sampled_frames(
    video: VideoInputConfig, num_frames: int, draw: float, *, training: bool
) -> np.ndarray:
    """Frame numbers of a clip's one window, those that the graph takes.

    Args:
        video: window size and stride.
        num_frames: stored frames.
        draw: float32 in [0, 1) that decides the window's start in training.
        training: a random window instead of the central one.

    Returns:
        int64[frames].
    """
    length, stride = num_frames, video.frame_stride
    if training:
        choices = max(length - (video.num_frames - 1) * stride, 1)
        # In float32, as the graph computes it.
        offset = min(int(np.float32(draw) * np.float32(choices)), choices - 1)
    else:
        offset = max((length - video.num_frames * stride) // 2, 0)
    return (offset + np.arange(video.num_frames) * stride) % max(length, 1)
