"""What clients send → what the model takes, inside the graph, one row like any number of rows."""

import tensorflow as tf

from mm_models.signal import frames as frame_ops
from mm_models.signal import waveform as waveform_ops
from mm_models.signal import windows


def central_frames(sequence: tf.Tensor, num_frames: int) -> tf.Tensor:
    """any[batch, num_frames, ...]: the central frames of each row of any[batch, frames, ...]; a
    shorter row goes round to its start."""
    length = tf.shape(sequence)[1]
    offset = windows.central_offset(length, num_frames, 1)
    return tf.gather(sequence, windows.window_indices(length, offset, num_frames), axis=1)


def fit_frames(frames: tf.Tensor, height: int, width: int, crop: str) -> tf.Tensor:
    """Frames as evaluation sees them.

    Args:
        frames: uint8[frames, any, any, 3].
        height, width: pixels wanted.
        crop: `resize` ignores the aspect; anything else resizes the short side and keeps the
            centre.

    Returns:
        float32[frames, height, width, 3] in [-1, 1].
    """
    if crop == "resize":
        fitted = frame_ops.resize(frames, height, width)
    else:
        fitted = frame_ops.resize_short_side_and_center_crop(frames, height, width)
    return frame_ops.to_model_range(fitted)


def video_from_frames(
    frames: tf.Tensor, num_frames: int, height: int, width: int, crop: str
) -> tf.Tensor:
    """Clips, float32[batch, num_frames, height, width, 3] in [-1, 1], from pixels.

    Args:
        frames: uint8[batch, frames, any, any, 3].
        num_frames: frames of a clip; 0 keeps all.
        height, width, crop: what the model takes; see `fit_frames`.
    """
    chosen = central_frames(frames, num_frames) if num_frames else frames
    # [batch, num_frames, h, w, 3] → [batch * num_frames, h, w, 3]
    flat = tf.reshape(chosen, tf.concat([[-1], tf.shape(chosen)[2:]], axis=0))
    fitted = fit_frames(flat, height, width, crop)
    return tf.reshape(fitted, [tf.shape(frames)[0], num_frames or -1, height, width, 3])


def video_from_jpeg(
    frames_jpeg: tf.Tensor, num_frames: int, height: int, width: int, crop: str
) -> tf.Tensor:
    """The same of `frames_jpeg`, string[batch, frames] that may differ in size, of which only the
    chosen ones are decoded."""
    chosen = central_frames(frames_jpeg, num_frames)

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        frame = frame_ops.decode_picture(encoded)
        return fit_frames(frame[tf.newaxis], height, width, crop)[0]

    frame_spec = tf.TensorSpec([height, width, 3], tf.float32)
    fitted = tf.map_fn(decode, tf.reshape(chosen, [-1]), fn_output_signature=frame_spec)
    return tf.reshape(fitted, [-1, num_frames, height, width, 3])


def audio_from_waveform(waveform: tf.Tensor, num_samples: int) -> tf.Tensor:
    """float32[batch, num_samples]: central samples of each row of float32[batch, samples] in
    [-1, 1] at the model's rate; a shorter row is repeated."""
    return tf.ensure_shape(central_frames(waveform, num_samples), [None, num_samples])


def audio_from_wav(wav_bytes: tf.Tensor, num_samples: int, sample_rate_hz: int) -> tf.Tensor:
    """Waveforms, float32[batch, num_samples], from WAV files, each of its own length.

    Args:
        wav_bytes: string[batch] 16-bit PCM WAV files.
        num_samples: samples wanted.
        sample_rate_hz: rate that the files must have.

    Raises:
        tf.errors.InvalidArgumentError: a file of another rate, or no WAV file.
    """

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        sound = waveform_ops.decode_wav(encoded)
        message = f"WAV file is not at {sample_rate_hz} Hz, the rate of this model; resample it"
        check = tf.debugging.assert_equal(sound.sample_rate_hz, sample_rate_hz, message)
        with tf.control_dependencies([check] if check is not None else []):
            return waveform_ops.fit_length(sound.samples, num_samples)

    return tf.map_fn(
        decode, wav_bytes, fn_output_signature=tf.TensorSpec([num_samples], tf.float32)
    )
