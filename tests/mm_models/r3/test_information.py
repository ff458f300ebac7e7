"""Information by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mm_models.r3 import information


def test_information_by_hand():
    assert information.mutual_information(np.diag([5, 5])) == pytest.approx(1.0)
    assert information.mutual_information(np.diag([1, 1, 1, 1])) == pytest.approx(2.0)
    assert information.mutual_information(np.outer([1, 2, 3], [4, 1])) == pytest.approx(0.0)
    # H(row) = 1, H(row | column) = 3/4 H(1/3): 1 - 0.75 * 0.9182958 = 0.3112781.
    assert information.mutual_information([[2, 0], [1, 1]]) == pytest.approx(0.3112781)
    assert information.mutual_information(np.zeros([2, 3])) == 0.0


def test_pointwise_information_by_hand():
    found = information.pointwise_information([[2, 0], [1, 1]])
    np.testing.assert_allclose(found, [[np.log2(4 / 3), -np.inf], [np.log2(2 / 3), 1.0]])


@given(hnp.arrays(np.int64, (3, 4), elements=st.integers(0, 20)))
def test_information_is_that_of_entropies(counts):
    def entropy(values):
        share = values[values > 0] / max(values.sum(), 1)
        return -np.sum(share * np.log2(share))

    expected = entropy(counts.sum(0)) + entropy(counts.sum(1)) - entropy(counts.ravel())
    assert information.mutual_information(counts) == pytest.approx(expected, abs=1e-9)


def test_perplexity_and_pairs():
    assert information.perplexity([3, 3, 0, 3]) == pytest.approx(3.0)
    assert information.perplexity([0, 0]) == 0.0
    counts = information.pair_counts([0, 1, 1, 1], [2, 0, 0, 1], (2, 3))
    np.testing.assert_array_equal(counts, [[0, 0, 1], [2, 1, 0]])
