"""Mono waveforms inside graphs: decode, fit to a length. Training and export run the same ops."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.signal import windows

PCM16_SCALE = 32768.0


class Sound(NamedTuple):
    """A decoded sound file.

    Attributes:
        samples: float32[samples] mono, in [-1, 1].
        sample_rate_hz: int32[].
    """

    samples: tf.Tensor
    sample_rate_hz: tf.Tensor


def decode_pcm16(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes raw little-endian 16-bit samples.

    Args:
        encoded: string[] two bytes per sample.

    Returns:
        float32[samples] in [-1, 1).
    """
    integers = tf.io.decode_raw(encoded, tf.int16, little_endian=True)
    return tf.cast(integers, tf.float32) / PCM16_SCALE


def decode_wav(encoded: tf.Tensor) -> Sound:
    """Decodes a 16-bit PCM WAV file and averages its channels.

    Args:
        encoded: string[] WAV file content.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no 16-bit PCM WAV file.
    """
    channels, sample_rate_hz = tf.audio.decode_wav(encoded)
    return Sound(tf.reduce_mean(channels, axis=-1), sample_rate_hz)


def fit_length(samples: tf.Tensor, num_samples: int) -> tf.Tensor:
    """The central `num_samples` of a waveform; a shorter one is repeated cyclically.

    It is the window that evaluation takes. No samples at all give silence.

    Args:
        samples: float32[any] mono.
        num_samples: length wanted.

    Returns:
        float32[num_samples].
    """
    length = tf.shape(samples)[0]
    return window(samples, windows.central_offset(length, num_samples, 1), num_samples)


def window(samples: tf.Tensor, offset: tf.Tensor, num_samples: int, stride: int = 1) -> tf.Tensor:
    """Cuts a window, going round to the start where the waveform ends.

    Args:
        samples: float32[any] mono; empty gives silence.
        offset: int32[] first sample.
        num_samples: samples in the window.
        stride: plain decimation: stored samples between two kept ones.

    Returns:
        float32[num_samples].
    """
    length = tf.shape(samples)[0]
    stop = offset + (num_samples - 1) * stride + 1
    cut = tf.cond(
        stop <= length,
        lambda: samples[offset:stop:stride],
        lambda: _cyclic(samples, length, offset, num_samples, stride),
    )
    return tf.ensure_shape(cut, [num_samples])


def _cyclic(
    samples: tf.Tensor, length: tf.Tensor, offset: tf.Tensor, num_samples: int, stride: int
) -> tf.Tensor:
    indices = windows.window_indices(length, offset, num_samples, stride)
    # A pad sample keeps the gather valid when there is nothing to repeat.
    padded = tf.cond(length > 0, lambda: samples, lambda: tf.zeros([1]))
    return tf.gather(padded, indices)
