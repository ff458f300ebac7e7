"""Classification losses by hand and against float64 NumPy."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mm_models.losses.classification import (
    class_balanced_weights,
    label_targets,
    sigmoid_loss,
    softmax_loss,
)

ONES = tf.ones([2])


def mean(term) -> float:
    return float(term.sum / term.weight)


def test_labels_become_targets():
    labels = tf.constant([[2, -1], [0, 2], [-1, -1], [3, 7]])
    expected = [[0, 0, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(label_targets(labels, 3), expected)


def test_softmax_by_hand():
    # Two of three classes tie at ln 2 above the third: shares 2/5, 2/5, 1/5.
    logits = tf.constant([[math.log(2.0), math.log(2.0), 0.0]] * 2)
    targets = tf.constant([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    each = [-math.log(0.4), -math.log(0.2)]
    assert mean(softmax_loss(logits, targets, ONES)) == pytest.approx(sum(each) / 2, rel=1e-6)
    # A tenth of the target is spread over three classes.
    evenly = -(2 * math.log(0.4) + math.log(0.2)) / 3
    smooth = softmax_loss(logits, targets, ONES, label_smoothing=0.1)
    assert mean(smooth) == pytest.approx(0.9 * sum(each) / 2 + 0.1 * evenly, rel=1e-6)


def test_softmax_shares_the_target_and_leaves_rows_without_one_out():
    logits = tf.constant([[1.0, 2.0, 3.0], [9.0, -9.0, 0.0], [4.0, 0.0, 0.0]])
    targets = tf.constant([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    total = math.log(sum(math.exp(value) for value in (1, 2, 3)))
    term = softmax_loss(logits, targets, tf.constant([1.0, 1.0, 0.0]))
    assert float(term.weight) == 1.0
    assert float(term.sum) == pytest.approx(total - (1 + 3) / 2, rel=1e-6)


def test_sigmoid_by_hand():
    # At logit 0 every class costs ln 2, whatever its target.
    zeros = sigmoid_loss(tf.zeros([2, 5]), tf.constant([[1.0, 0, 1, 0, 0]] * 2), ONES)
    assert mean(zeros) == pytest.approx(5 * math.log(2), rel=1e-6)
    one = sigmoid_loss(tf.constant([[3.0, -1.0]]), tf.constant([[0.0, 1.0]]), tf.ones([1]))
    expected = math.log1p(math.exp(3.0)) + math.log1p(math.exp(1.0))
    assert mean(one) == pytest.approx(expected, rel=1e-6)


def test_class_balanced_weights_by_hand():
    # Counts 2, 1, 1: the first row has the common class alone, the second a rare one beside it.
    targets = tf.constant([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]])
    mask = tf.constant([1.0, 1, 1, 1, 0])
    weights = class_balanced_weights(targets, mask).numpy()
    np.testing.assert_allclose(weights[:4], [0.5, 0.75, 1.0, 0.0], rtol=1e-6)
    term = sigmoid_loss(tf.zeros([5, 3]), targets, mask, class_balanced=True)
    assert float(term.weight) == 4.0
    assert float(term.sum) == pytest.approx((0.5 + 0.75 + 1.0) * 3 * math.log(2), rel=1e-6)


def test_against_float64_and_compiled():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (16, 7))
    targets = rng.uniform(size=(16, 7)) * (rng.uniform(size=(16, 7)) < 0.4)
    mask = (rng.uniform(size=16) < 0.8).astype(np.float64)
    counts = (targets * mask[:, None]).sum(axis=0)
    rarity = np.divide(targets, counts, out=np.zeros_like(targets), where=counts > 0)
    classes = targets.sum(axis=1)
    weights = np.divide(rarity.sum(axis=1), classes, out=np.zeros(16), where=classes > 0)
    each = np.logaddexp(0.0, logits) - targets * logits
    expected = (each.sum(axis=1) * weights * mask).sum() / mask.sum()
    arguments = [tf.constant(value, tf.float32) for value in (logits, targets, mask)]
    compiled = tf.function(sigmoid_loss, jit_compile=True)
    assert mean(compiled(*arguments, class_balanced=True)) == pytest.approx(expected, rel=1e-5)
