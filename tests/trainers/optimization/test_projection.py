import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.optimization.harmonization import measures, projection
from trainers.optimization.harmonization.config import HarmonizationConfig


def products_of(first, second):
    return projection.row_products(tf.constant([first]), tf.constant([second]))


def realigned(first, second):
    """Sum of the projected vectors from the factors."""
    products = products_of(first, second)
    factors = projection.realign_factors(products, products.cosine() < 0)
    return factors[0] * tf.constant(first) + factors[1] * tf.constant(second)


def test_hand_case_of_two_vectors():
    products = products_of([1.0, 0.0], [-1.0, 1.0])
    assert float(products.cosine()[0]) == pytest.approx(-0.707107, abs=1e-6)
    np.testing.assert_allclose(realigned([1.0, 0.0], [-1.0, 1.0]), [0.5, 1.5], atol=1e-6, rtol=1e-4)
    np.testing.assert_allclose(realigned([1.0, 0.5], [2.0, 1.0]), [3.0, 1.5])
    np.testing.assert_allclose(realigned([0.0, 0.0], [2.0, 1.0]), [2.0, 1.0])


vectors = st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3)


@settings(max_examples=100, deadline=None)
@given(vectors, vectors)
def test_projection_takes_each_off_the_other(first, second):
    first, second = np.array(first), np.array(second)
    if np.linalg.norm(first) < 1e-2 or np.linalg.norm(second) < 1e-2:
        return
    dot = first @ second
    new_first = first - min(dot, 0) / (second @ second) * second
    new_second = second - min(dot, 0) / (first @ first) * first
    assert new_first @ second >= -1e-9 and new_second @ first >= -1e-9
    scale = np.abs(new_first).max() + np.abs(new_second).max() + 1
    found = realigned(first.astype(np.float32), second.astype(np.float32))
    np.testing.assert_allclose(
        found / scale, (new_first + new_second) / scale, atol=1e-5, rtol=1e-4
    )


def test_threshold_rises_linearly_after_its_first_step():
    config = HarmonizationConfig(gamma_start=-0.3, gamma_end=0.1, ramp_begin=10, ramp_end=20)
    found = [float(projection.threshold(config, tf.constant(s))) for s in (0, 9, 10, 15, 20, 99)]
    np.testing.assert_allclose(found, [-2, -2, -0.3, -0.1, 0.1, 0.1], atol=1e-6, rtol=1e-4)
    at_once = dataclasses.replace(config, ramp_end=10)
    assert float(projection.threshold(at_once, tf.constant(10))) == pytest.approx(0.1)


def test_scores_are_handed_around_among_valid_groups():
    scores = tf.range(8, dtype=tf.float32)
    valid = tf.constant([1, 0, 1, 1, 0, 1, 1, 1]) > 0
    draws = [projection.shuffled(scores, valid, tf.constant([7, i])).numpy() for i in range(5)]
    for draw in draws:
        assert draw[1] == 1 and draw[4] == 4
        assert sorted(draw) == list(range(8))
    assert len({tuple(draw) for draw in draws}) > 1


def test_last_layer_form_equals_autodiff():
    rng = np.random.default_rng(0)
    kernel, bias = tf.Variable(rng.normal(size=(5, 3))), tf.Variable(rng.normal(size=3))
    sides, gradients = [], []
    for rows in (2, 4):
        hidden = rng.normal(size=(6, rows, 5))
        cotangents = rng.normal(size=(6, rows, 3))
        sides += [tf.constant(hidden), tf.constant(cotangents)]
        each = []
        for group in range(6):
            with tf.GradientTape() as tape:
                output = hidden[group] @ kernel + bias
            found = tape.gradient(output, [kernel, bias], tf.constant(cotangents[group]))
            each.append(np.concatenate([np.ravel(value) for value in found]))
        gradients.append(np.array(each))
    found = measures.last_layer_products(*sides, use_bias=True)
    first, second = gradients
    np.testing.assert_allclose(found.dot, (first * second).sum(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.square_1, (first**2).sum(1), rtol=1e-4)
    np.testing.assert_allclose(found.square_2, (second**2).sum(1), rtol=1e-4)


def test_parts_that_batch_norm_cannot_feel_by_hand():
    # Centred, the change is (-1, -1), (1, 1) and the rows (-1, 0), (1, 0); along is 2, spread 2.
    change, rows = tf.constant([[0.0, 1.0], [2.0, 3.0]]), tf.constant([[3.0, 5.0], [5.0, 5.0]])
    found = projection.felt_through_batch_norm(change, rows)
    np.testing.assert_allclose(found, [[0.0, -1.0], [0.0, 1.0]], atol=1e-6, rtol=1e-4)
