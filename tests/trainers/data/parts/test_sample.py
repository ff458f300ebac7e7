import numpy as np
import pytest
import tensorflow as tf

from mm_models.signal import windows
from trainers.data import draw_columns
from trainers.data.parts import sampling
from trainers.data.parts.audio.config import AudioInputConfig


def test_four_windows_of_a_hundred_frames():
    offsets = sampling.spread_offsets(tf.constant([100, 32, 10]), 32, 1, 4)
    np.testing.assert_array_equal(offsets, [[0, 22, 45, 68], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("length", "steps", "stride", "offset"),
    [(100, 32, 1, 34), (100, 32, 2, 18), (17, 8, 2, 0), (20, 32, 1, 0), (33, 32, 1, 0)],
)
def test_central_offset(length, steps, stride, offset):
    found = sampling.spread_offsets(tf.constant([length]), steps, stride, 1)
    assert found.numpy().tolist() == [[offset]]


def test_short_clips_go_round():
    indices = windows.window_indices(tf.constant([20]), tf.constant([0]), 32)
    assert indices.numpy()[0].tolist() == [*range(20), *range(12)]
    indices = windows.window_indices(tf.constant([3]), tf.constant([1]), 4, stride=2)
    assert indices.numpy()[0].tolist() == [1, 0, 2, 1]
    assert windows.window_indices(tf.constant([0]), tf.constant([0]), 3).numpy().max() == 0


def test_random_offsets_are_uniform_over_those_that_fit():
    draws = tf.random.stateless_uniform([69_000], [1, 2])
    offsets = sampling.random_offset(tf.fill([69_000], 100), 32, 1, draws).numpy()
    counts = np.bincount(offsets, minlength=69)
    # 0..68 inclusive: 100 - 31 choices, 1,000 expected of each, standard deviation 31.
    assert len(counts) == 69 and counts.min() > 860 and counts.max() < 1140
    nearly_one = tf.constant([np.float32(1.0 - 2.0**-24)])
    assert sampling.random_offset(tf.constant([100]), 32, 2, nearly_one).numpy()[0] == 37
    assert sampling.random_offset(tf.constant([5]), 32, 2, nearly_one).numpy()[0] == 0


def test_sound_starts_with_the_frame():
    found = sampling.in_step(
        tf.constant([10, 10, 10, 0]),
        tf.constant([100, 100, 100, 100]),
        tf.constant([25.0, 0.0, 25.0, 25.0]),
        tf.constant([480_000, 480_000, 1000, 0]),
        tf.constant([48_000.0, 48_000.0, 48_000.0, 48_000.0]),
    )
    # By time; by fraction where a rate is unknown; never behind the end; silence has no sample.
    assert found.numpy().tolist() == [19_200, 48_000, 999, 0]


def test_sound_alone_has_its_own_draw():
    audio = AudioInputConfig(num_samples=100, sample_rate_hz=8000)
    draws = np.zeros((2, draw_columns.COUNT), np.float32)
    draws[1, draw_columns.AUDIO_TIME] = 0.5
    found = sampling.audio_offsets(
        audio, tf.constant([299, 299]), tf.constant(draws), num_windows=0
    )
    assert found.numpy().tolist() == [[0], [100]]
    found = sampling.audio_offsets(audio, tf.constant([300]), tf.constant(draws[:1]), num_windows=3)
    assert found.numpy().tolist() == [[0, 100, 200]]
