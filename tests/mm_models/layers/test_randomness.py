"""Draws are those of a reference in whole numbers of Python, and pass tests of randomness."""

import zlib

import numpy as np
import pytest
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from tests import batteries

WORDS = 2**32


def _mixed(word):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = (word ^ word >> shift) * factor % WORDS
    return word ^ word >> 16


def _hashed(place, seed, domain=0):
    first = _mixed((seed[0] + domain) % WORDS)
    second = _mixed(seed[1] % WORDS ^ first)
    return _mixed(_mixed((place + first) % WORDS) ^ second)


def _signed(word):
    return word - WORDS if word >= WORDS // 2 else word


def _bits(shape, seed):
    return randomness.bits(shape, tf.constant(seed, tf.int32)).numpy()


@pytest.mark.parametrize("compiled", [False, True])
def test_bits_and_seeds_are_those_of_whole_numbers_in_every_kind_of_execution(compiled):
    seed = (-5, 2**31 - 1)
    run = tf.function(
        lambda seed: (randomness.bits([3, 4, 5], seed), randomness.fold_in(seed, 77)),
        jit_compile=compiled,
    )
    bits, folded = run(tf.constant(seed))
    expected = [_hashed(place, seed) for place in range(60)]
    np.testing.assert_array_equal(bits, np.reshape(expected, [3, 4, 5]))
    np.testing.assert_array_equal(bits, _bits([3, 4, 5], seed))
    np.testing.assert_array_equal(folded, [_signed(word) for word in _folded(seed, 77)])


def test_a_shape_may_be_known_in_part_only_when_traced():
    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def drawn(x):
        rows = randomness.bits([tf.shape(x)[0], 7], batteries.seed())
        assert rows.shape.as_list() == [None, 7]
        return rows, randomness.bits(tf.shape(x), batteries.seed())

    rows, like = drawn(tf.zeros([4, 3]))
    np.testing.assert_array_equal(rows, randomness.bits([4, 7], batteries.seed()))
    np.testing.assert_array_equal(like, randomness.bits([4, 3], batteries.seed()))
    assert randomness.bits([], batteries.seed()).shape == ()


def _correlation(one, other):
    """Of centered bits in units of what independent ones would have."""
    one, other = (values.reshape(-1).astype(np.float64) - 0.5 for values in (one, other))
    return float(np.sum(one * other) * 4 / np.sqrt(one.size))


def test_every_bit_is_even_and_tells_nothing_of_its_neighbours():
    drawn = _bits([64, 16, 256], (3, 4))
    planes = (drawn[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    worst = [_correlation(planes, np.ones_like(planes))]
    for axis in range(3):
        for lag in (1, 2, 3, 8):
            ahead = np.take(planes, np.arange(lag, planes.shape[axis]), axis)
            behind = np.take(planes, np.arange(planes.shape[axis] - lag), axis)
            worst += [_correlation(ahead[..., k], behind[..., k]) for k in range(32)]
    for lag in range(1, 32):
        worst.append(_correlation(planes[..., lag:], planes[..., :-lag]))
    assert np.max(np.abs(worst)) < 5.0, worst


def test_bytes_and_pairs_of_bytes_are_even():
    drawn = _bits([1 << 20], (7, 0))
    for shift in (0, 8, 16, 24):
        values = (drawn >> np.uint32(shift)) & 255
        for cells, count in ((values, 256), (values[1:] * 256 + values[:-1], 65536)):
            counts = np.bincount(cells, minlength=count)
            chi2 = np.sum((counts - cells.size / count) ** 2) / (cells.size / count)
            assert abs(chi2 - (count - 1)) < 5 * np.sqrt(2 * (count - 1)), (shift, count)


def test_masks_of_related_seeds_are_independent():
    seeds = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (-1, 0), (0, -1), (1 << 30, 0), (256, 256)]
    base = tf.constant((0, 0))
    for _ in range(3):
        base = randomness.fold_in(base, 0)
        seeds.append(tuple(base.numpy()))
    seeds += [tuple(randomness.fold_in(tf.constant((0, 0)), row).numpy()) for row in (1, 2, 3)]
    masks = [_bits([1 << 14], seed) >> 31 for seed in seeds]
    for index, mask in enumerate(masks):
        for other in masks[:index]:
            for lag in (0, 1, 2, 64):
                assert abs(_correlation(mask[lag:], other[: other.size - lag])) < 5.0


def _folded(seed, number):
    if isinstance(number, str):
        number = zlib.crc32(number.encode("utf-8")) & 0x7FFFFFFF
    return tuple(_hashed(2 * number + word, seed, 0x9E3779B9) for word in (0, 1))


def test_seeds_of_runs_steps_replicas_and_purposes_are_all_different():
    seeds = [(run, 0) for run in range(8)]
    for numbers in (range(40), range(4), Purpose):
        seeds = [_folded(seed, number) for seed in seeds for number in numbers]
    assert len(set(seeds)) == len(seeds) == 8 * 160 * len(Purpose)
    halves = np.array(seeds)
    # A birthday's share of equal halves, and no more.
    for half in halves.T:
        expected = len(half) ** 2 / 2 / WORDS
        assert len(half) - len(set(half.tolist())) <= expected + 5 * np.sqrt(expected) + 1


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_the_share_kept_is_that_asked_for(rate):
    kept = randomness.keep_mask([1024, 1024], tf.constant((1, 2)), rate).numpy()
    spread = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) <= 5 * spread
    # Of rows and of columns too: none is favoured.
    for axis in (0, 1):
        z = (kept.mean(axis) - (1 - rate)) / max(spread * np.sqrt(1024), 1e-12)
        assert np.max(np.abs(z)) < 6.0 and (rate == 0.0 or 0.8 < np.std(z) < 1.2)


def test_fractions_are_even_and_below_one():
    drawn = np.sort(randomness.uniform([1 << 18], tf.constant((9, 9))).numpy())
    assert drawn[0] >= 0.0 and drawn[-1] < 1.0
    steps = np.arange(1, drawn.size + 1) / drawn.size
    assert np.max(np.abs(drawn - steps)) * np.sqrt(drawn.size) < 2.0
