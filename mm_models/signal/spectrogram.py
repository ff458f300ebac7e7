"""Log-mel spectrograms inside graphs."""

import dataclasses

import tensorflow as tf

from mm_models.signal import tfio_audio


@dataclasses.dataclass
class LogMelConfig:
    """The spectrogram of VATT's spectrogram towers.

    Attributes:
        sample_rate_hz: rate of the waveform.
        window_ms: length of the Hann window, also of the Fourier transform.
        step_ms: distance between two windows.
        num_mels: mel bands.
        low_hz, high_hz: edges of the mel bands.
        log_gain: g in log(1 + g * x).
    """

    sample_rate_hz: int = 48000
    window_ms: float = 42.67
    step_ms: float = 21.34
    num_mels: int = 80
    low_hz: float = 80.0
    high_hz: float = 7600.0
    log_gain: float = 1e4


def num_frames(num_samples: int, config: LogMelConfig) -> int:
    """Spectrogram frames of a waveform: one per step, the last ones padded with silence."""
    step = _samples(config.step_ms, config.sample_rate_hz)
    return -(-num_samples // step)


def log_mel(waveform: tf.Tensor, config: LogMelConfig) -> tf.Tensor:
    """Log-mel magnitudes, each clip scaled to [0, 1] by its own smallest and largest value.

    Args:
        waveform: float32[..., samples] mono, in [-1, 1].
        config: window, bands and gain.

    Returns:
        float32[..., frames, num_mels]; a clip with one value throughout (silence) gives zeros.

    Source: VATT, appendix on inputs.
    """
    window = _samples(config.window_ms, config.sample_rate_hz)
    step = _samples(config.step_ms, config.sample_rate_hz)
    magnitudes = tfio_audio.spectrogram(waveform, nfft=window, window=window, stride=step)
    mel = tfio_audio.melscale(
        magnitudes,
        rate=config.sample_rate_hz,
        mels=config.num_mels,
        fmin=config.low_hz,
        fmax=config.high_hz,
    )
    return _min_max(tf.math.log1p(config.log_gain * mel))


def _min_max(values: tf.Tensor) -> tf.Tensor:
    low = tf.reduce_min(values, axis=[-2, -1], keepdims=True)
    high = tf.reduce_max(values, axis=[-2, -1], keepdims=True)
    return tf.math.divide_no_nan(values - low, high - low)


def _samples(milliseconds: float, sample_rate_hz: int) -> int:
    return round(milliseconds * sample_rate_hz / 1000.0)
