import math

import numpy as np
import pytest

from mm_models.metrics import classification


def test_top_k_by_hand():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
    labels = np.array([1, 2, 0])
    assert classification.top_k_accuracy(scores, labels) == pytest.approx(1 / 3)  # the tie misses
    assert classification.top_k_accuracy(scores, labels, k=2) == pytest.approx(2 / 3)
    assert classification.top_k_accuracy(scores, labels, k=3) == 1.0
    assert classification.top_k_accuracy(np.full((4, 3), np.nan), np.zeros(4, int)) == 0.0


def test_average_precision_and_auc_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    positives = np.array([True, False, True, False])
    assert classification.average_precision(scores, positives) == pytest.approx((1 + 2 / 3) / 2)
    assert classification.roc_auc(scores, positives) == pytest.approx(3 / 4)


def test_ties_enter_together():
    scores = np.zeros(4)
    positives = np.array([True, False, False, False])
    assert classification.average_precision(scores, positives) == pytest.approx(1 / 4)
    assert classification.roc_auc(scores, positives) == pytest.approx(1 / 2)


def test_d_prime_is_per_class_then_averaged():
    assert classification.d_prime(0.5) == 0.0
    # P(z < 1/sqrt(2)) = 0.7602499 is the area of two unit normals one deviation apart.
    assert classification.d_prime(0.7602499) == pytest.approx(1.0, abs=1e-6)
    assert classification.d_prime(1.0) == math.inf
    scores = np.array([[0.9, 0.1], [0.8, 0.9], [0.7, 0.8], [0.6, 0.7]])
    positives = np.array([[1, 1], [0, 0], [1, 1], [0, 0]], bool)
    result = classification.multi_label_scores(scores, positives)
    first, second = classification.d_prime(0.75), classification.d_prime(0.25)
    assert result["auc"] == pytest.approx((0.75 + 0.25) / 2)
    assert result["d_prime"] == pytest.approx((first + second) / 2)


def test_classes_without_positives_are_left_out():
    scores = np.array([[0.9, 0.3], [0.1, 0.2]])
    positives = np.array([[1, 0], [0, 0]], bool)
    assert classification.multi_label_scores(scores, positives)["map"] == 1.0


def test_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    scores = np.round(rng.normal(size=200), 1)  # rounding makes ties
    positives = rng.random(200) < 0.3
    assert classification.roc_auc(scores, positives) == pytest.approx(
        metrics.roc_auc_score(positives, scores)
    )
    assert classification.average_precision(scores, positives) == pytest.approx(
        metrics.average_precision_score(positives, scores)
    )
