"""Log-mel spectrograms inside graphs."""

import dataclasses

import numpy as np
import tensorflow as tf

from mm_models.signal import tfio_audio


@dataclasses.dataclass
class LogMelConfig:
    """A log-mel spectrogram.

    Attributes:
        sample_rate_hz: rate of the waveform.
        window_ms: length of the Hann window, also of the Fourier transform.
        step_ms: distance between two windows.
        num_mels: mel bands.
        low_hz, high_hz: edges of the mel bands.
        log_gain: g in log(1 + g * x).
        transform: `fft`, or `matrix`: one product with the matrix of the Fourier transform, which a
            TPU does with a quarter of the memory traffic (docs/tpu.md), and a CPU more slowly.
            They agree to 1e-5 of the largest magnitude.
        scaling: of each clip's values: `min_max` takes them to [0, 1]; `standard` subtracts every
            band's mean over time and divides all bands by their common standard deviation.
    """

    sample_rate_hz: int = 48000
    window_ms: float = 42.67
    step_ms: float = 21.34
    num_mels: int = 80
    low_hz: float = 80.0
    high_hz: float = 7600.0
    log_gain: float = 1e4
    transform: str = "fft"
    scaling: str = "min_max"


def num_frames(num_samples: int, config: LogMelConfig) -> int:
    """Spectrogram frames of a waveform: one per step, the last ones padded with silence."""
    step = _samples(config.step_ms, config.sample_rate_hz)
    return -(-num_samples // step)


def log_mel(waveform: tf.Tensor, config: LogMelConfig) -> tf.Tensor:
    """Log-mel magnitudes, each clip scaled by its own values.

    Args:
        waveform: float32[..., samples] mono, in [-1, 1].
        config: window, bands, gain and scaling.

    Returns:
        float32[..., frames, num_mels]; a clip with one value throughout (silence) gives zeros.

    Source: VATT, appendix on inputs, for `min_max`. What steady noise, the microphone and the log's
    offset put into every frame of a band says nothing about the clip; with few clips a model
    learns much sooner without it, which is what `standard` is for.
    """
    window = _samples(config.window_ms, config.sample_rate_hz)
    step = _samples(config.step_ms, config.sample_rate_hz)
    magnitudes = TRANSFORMS[config.transform](waveform, window, step)
    mel = tfio_audio.melscale(
        magnitudes,
        rate=config.sample_rate_hz,
        mels=config.num_mels,
        fmin=config.low_hz,
        fmax=config.high_hz,
    )
    return SCALINGS[config.scaling](tf.math.log1p(config.log_gain * mel))


def _by_fft(waveform: tf.Tensor, window: int, step: int) -> tf.Tensor:
    return tfio_audio.spectrogram(waveform, nfft=window, window=window, stride=step)


def _by_matrix(waveform: tf.Tensor, window: int, step: int) -> tf.Tensor:
    """float32[..., frames, window // 2 + 1] magnitudes, as `_by_fft` gives them."""
    angles = 2.0 * np.pi / window * np.outer(np.arange(window), np.arange(window // 2 + 1))
    hann = tf.signal.hann_window(window)[:, None]
    # [window, 2 * (window // 2 + 1)]
    basis = tf.concat([np.cos(angles), np.sin(angles)], axis=1)
    basis = tf.cast(basis, tf.float32) * hann
    real, imaginary = tf.split(_precise_product(_frames(waveform, window, step), basis), 2, axis=-1)
    return tf.sqrt(tf.square(real) + tf.square(imaginary))


TRANSFORMS = {"fft": _by_fft, "matrix": _by_matrix}


def _frames(waveform: tf.Tensor, window: int, step: int) -> tf.Tensor:
    """float32[..., frames, window], cut out as whole slices: TPUs gather samples one by one."""
    num_frames, num_blocks = -(-waveform.shape[-1] // step), -(-window // step)
    silence = (num_frames + num_blocks - 1) * step - waveform.shape[-1]
    padded = tf.pad(waveform, [[0, 0]] * (waveform.shape.rank - 1) + [[0, silence]])
    blocks = tf.reshape(padded, [*padded.shape[:-1], num_frames + num_blocks - 1, step])
    parts = [
        blocks[..., first : first + num_frames, : min(step, window - first * step)]
        for first in range(num_blocks)
    ]
    return tf.concat(parts, axis=-1)


def _precise_product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The product of float32 tensors where the machine's own rounds factors to bfloat16, as that of
    TPUs does."""
    (left_high, left_low), (right_high, right_low) = _halves(left), _halves(right)
    small = tf.matmul(left_low, right_high) + tf.matmul(left_high, right_low)
    return tf.matmul(left_high, right_high) + small


def _halves(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """float32 parts that add up to `values`; the first one has the precision of bfloat16."""
    # A cast there and back is nothing to a compiler that may keep more precision than asked for.
    high = tf.bitcast(tf.bitcast(values, tf.int32) & -0x10000, tf.float32)
    return high, values - high


def _min_max(values: tf.Tensor) -> tf.Tensor:
    low = tf.reduce_min(values, axis=[-2, -1], keepdims=True)
    high = tf.reduce_max(values, axis=[-2, -1], keepdims=True)
    return tf.math.divide_no_nan(values - low, high - low)


def _standard(values: tf.Tensor) -> tf.Tensor:
    values -= tf.reduce_mean(values, axis=-2, keepdims=True)
    return tf.math.divide_no_nan(values, tf.math.reduce_std(values, axis=[-2, -1], keepdims=True))


SCALINGS = {"min_max": _min_max, "standard": _standard}


def _samples(milliseconds: float, sample_rate_hz: int) -> int:
    return round(milliseconds * sample_rate_hz / 1000.0)
