"""Pointing and attention correctness by hand, and enlarging as other programs do it."""

import numpy as np
import pytest

from mm_models.metrics.boxes import heat_maps

CORNER = np.array([[0.0, 1.0], [0.0, 0.0]])


def test_a_corner_enlarged_by_hand():
    large = heat_maps.enlarge(CORNER, 4, 4)
    rows = [[0, 0.25, 0.75, 1], [0, 0.1875, 0.5625, 0.75], [0, 0.0625, 0.1875, 0.25], [0] * 4]
    np.testing.assert_allclose(large, rows, atol=1e-15)
    assert heat_maps.first_maximum(large) == (0, 3)
    # x from 2 to 3 and y from 0 to 1 holds the pixel on its border.
    assert heat_maps.points_at(large, np.array([[0, 2, 1, 3]]))
    assert not heat_maps.points_at(large, np.array([[0, 0, 3, 2]]))
    assert heat_maps.points_at(large, np.array([[0, 0, 3, 2], [0, 2, 1, 3]]))
    correct = heat_maps.attention_correctness(large, np.array([[0, 2, 2, 4]]))
    assert correct == pytest.approx(3.0625 / 4)
    twice = heat_maps.attention_correctness(large, np.array([[0, 2, 2, 4], [0, 2, 2, 4]]))
    assert twice == pytest.approx(2 * correct)
    assert heat_maps.attention_correctness(np.zeros((4, 4)), np.array([[0, 0, 4, 4]])) == 0.0


@pytest.mark.parametrize("size", [(37, 50), (3, 20), (1, 4), (5, 7)])
def test_enlarging_equals_opencv(size):
    cv2 = pytest.importorskip("cv2")
    heat = np.random.default_rng(0).random((5, 7))
    theirs = cv2.resize(heat, size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(heat_maps.enlarge(heat, *size), theirs, atol=1e-6)
    np.testing.assert_allclose(heat_maps.enlarge(heat[:1, :1], *size), heat[0, 0])


def test_the_first_of_equal_maxima_counts():
    heat = np.zeros((3, 4))
    heat[1, 2] = heat[1, 3] = heat[2, 0] = 1
    assert heat_maps.first_maximum(heat) == (1, 2)
    assert heat_maps.first_maximum(np.zeros((3, 4))) == (0, 0)


def test_words_count_by_their_scores():
    maps = np.random.default_rng(1).random((2, 3, 3))
    mean = heat_maps.phrase_map(maps, np.array([0.8, 0.2]))
    np.testing.assert_allclose(mean, 0.8 * maps[0] + 0.2 * maps[1])
    np.testing.assert_allclose(heat_maps.phrase_map(maps, np.array([1.6, 0.4])), mean)
    assert not heat_maps.phrase_map(maps, np.zeros(2)).any()
