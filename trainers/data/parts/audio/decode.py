"""From stored sound to windows of samples with noise, one example at a time, inside the graph.

Source of the noise: VATT, appendix A.2.1.
"""

import tensorflow as tf

from mm_models.signal import waveform
from trainers.data import draw_columns
from trainers.data.parts.audio.config import AudioInputConfig

NOISE_WINDOWS = 2**16


def sound_windows(
    audio: AudioInputConfig, samples: tf.Tensor, pcm16: tf.Tensor, offsets: tf.Tensor
) -> tf.Tensor:
    """Cuts windows out of one waveform.

    Args:
        audio: window size and stride.
        samples: float32[any] stored as floats; empty where stored as PCM.
        pcm16: string[] stored as 16-bit integers; empty where stored as floats.
        offsets: int32[windows] first samples.

    Returns:
        float32[windows, samples].
    """
    samples = tf.cond(tf.size(samples) > 0, lambda: samples, lambda: waveform.decode_pcm16(pcm16))
    cuts = [
        waveform.window(samples, offset, audio.num_samples, audio.sample_stride)
        for offset in tf.unstack(offsets)
    ]
    return tf.stack(cuts)


def noise_bank(num_samples: int, seed: int) -> tf.Tensor:
    """Gaussian noise from which every example takes a window.

    Fresh noise for every sample would cost more than all the rest of reading audio.

    Args:
        num_samples: length of the windows.
        seed: experiment seed.

    Returns:
        float32[num_samples + NOISE_WINDOWS - 1] of standard deviation 1.
    """
    return tf.random.stateless_normal([num_samples + NOISE_WINDOWS - 1], [seed % 2**31, 0])


def audio_noise(
    samples: tf.Tensor, std_share: float, bank: tf.Tensor, draws: tf.Tensor
) -> tf.Tensor:
    """Adds Gaussian noise in proportion to the clip's largest absolute sample.

    Args:
        samples: float32[samples].
        std_share: standard deviation as a share of that sample.
        bank: float32[any] from `noise_bank`.
        draws: float32[purposes] this example's uniform numbers: they choose window and sign.
    """
    std = std_share * tf.reduce_max(tf.abs(samples))
    std *= tf.sign(draws[draw_columns.NOISE_SIGN] - 0.5)
    first = tf.cast(draws[draw_columns.NOISE] * NOISE_WINDOWS, tf.int32)
    return samples + std * bank[first : first + tf.size(samples)]
