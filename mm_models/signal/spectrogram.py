"""Log-mel spectrograms inside graphs."""

import dataclasses

import tensorflow as tf

from mm_models.signal import tfio_audio


@dataclasses.dataclass
class LogMelConfig:
    """A log-mel spectrogram (VATT, appendix on inputs).

    Attributes:
        sample_rate_hz: rate of the waveform.
        window_ms: length of the Hann window, also of the Fourier transform.
        step_ms: distance between two windows.
        num_mels: mel bands.
        low_hz, high_hz: edges of the mel bands.
        log_gain: g in log(1 + g * x).
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
    magnitudes = tfio_audio.spectrogram(waveform, nfft=window, window=window, stride=step)
    mel = tfio_audio.melscale(
        magnitudes,
        rate=config.sample_rate_hz,
        mels=config.num_mels,
        fmin=config.low_hz,
        fmax=config.high_hz,
    )
    return SCALINGS[config.scaling](tf.math.log1p(config.log_gain * mel))


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
