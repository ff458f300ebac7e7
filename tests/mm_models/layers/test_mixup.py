"""Mix-up: shares of the right distribution, a pure function of the seed, applied row by row."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.layers.mixup import beta_shares, blend

SEED = tf.constant([3, 4])


@pytest.mark.parametrize(("alpha", "beta"), [(5.0, 5.0), (10.0, 2.0), (0.4, 0.4), (1.0, 1.0)])
def test_shares_follow_the_beta_distribution(alpha, beta):
    draw = tf.function(lambda seed: beta_shares(200_000, alpha, beta, seed), jit_compile=True)
    shares = draw(SEED).numpy()
    total = alpha + beta
    assert shares.min() >= 0 and shares.max() <= 1
    assert shares.mean() == pytest.approx(alpha / total, abs=3e-3)
    assert shares.var() == pytest.approx(alpha * beta / (total**2 * (total + 1)), rel=2e-2)
    third = (alpha / total) * ((alpha + 1) / (total + 1)) * ((alpha + 2) / (total + 2))
    assert (shares.astype(np.float64) ** 3).mean() == pytest.approx(third, rel=2e-2)


def test_shares_are_a_function_of_the_seed():
    first, again = beta_shares(8, 5.0, 5.0, SEED), beta_shares(8, 5.0, 5.0, SEED)
    np.testing.assert_array_equal(first, again)
    assert np.all(first != beta_shares(8, 5.0, 5.0, SEED + 1))
    assert len(set(first.numpy().tolist())) == 8


def test_rows_are_blended_with_those_from_the_other_end():
    values = tf.constant([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    mixed = blend(values, tf.constant([1.0, 0.3, 0.25]))
    expected = [[1.0, 10.0], [2.0, 20.0], [0.25 * 3 + 0.75 * 1, 0.25 * 30 + 0.75 * 10]]
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)
