"""Sampled softmax: nothing is lost with all ids, and on average nothing with few."""

import numpy as np
import tensorflow as tf

from mm_models.losses.sampled_softmax import Candidates, draw_candidates, sampled_cross_entropy
from mm_models.losses.sequence import token_terms

WORDS, WIDTH = 40, 6


def make_case():
    draw = np.random.default_rng(0)
    hidden = draw.normal(size=[2, 3, WIDTH]).astype(np.float32)
    kernel = draw.normal(size=[WORDS, WIDTH]).astype(np.float32)
    bias = draw.normal(size=[WORDS]).astype(np.float32)
    targets = draw.integers(0, WORDS, [2, 3]).astype(np.int32)
    return [tf.constant(value) for value in (hidden, kernel, bias, targets)]


def test_with_every_id_loss_and_gradients_are_those_of_the_softmax():
    hidden, kernel, bias, targets = case = make_case()
    candidates = draw_candidates(WORDS, WORDS, tf.constant([1, 2]))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(case[:3])
        logits = tf.einsum("btw,vw->btv", hidden, kernel) + bias
        full = token_terms(logits, targets, tf.ones([2, 3])).loss
        sampled = tf.reduce_sum(sampled_cross_entropy(*case, candidates), axis=1)
    np.testing.assert_allclose(sampled, full, rtol=1e-5)
    for one, other in zip(
        tape.gradient(sampled, case[:3]), tape.gradient(full, case[:3]), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_by_hand_a_target_among_the_candidates_counts_once():
    hidden, kernel = tf.constant([[[1.0]]]), tf.constant([[1.0], [2.0], [3.0]])
    candidates = Candidates(tf.constant([1, 2]), tf.math.log([0.5, 0.25]))
    options = {"kernel": kernel, "bias": tf.zeros([3]), "candidates": candidates}
    expected = {0: np.e + np.e**2 / 0.5 + np.e**3 / 0.25, 1: np.e**2 + np.e**3 / 0.25}
    for target, total in expected.items():
        loss = sampled_cross_entropy(hidden, targets=tf.constant([[target]]), **options)
        np.testing.assert_allclose(loss, [[np.log(total) - float(kernel[target, 0])]], rtol=1e-6)


def test_normalisers_are_right_on_average_and_frequent_ids_are_drawn_more_often():
    values = np.random.default_rng(1).uniform(0.5, 2.0, WORDS).astype(np.float32)

    @tf.function(jit_compile=True)
    def estimates():
        def one(number):
            ids, log_inclusion = draw_candidates(WORDS, 10, tf.stack([number, 7]))
            drawn = tf.reduce_sum(tf.one_hot(ids, WORDS), axis=0)
            return tf.reduce_sum(tf.gather(values, ids) / tf.exp(log_inclusion)), drawn

        return tf.map_fn(one, tf.range(4000), (tf.float32, tf.float32))

    sums, drawn = (np.asarray(value) for value in estimates())
    assert np.all(drawn.sum(axis=1) == 10) and drawn.max() == 1.0
    error = sums.std() / np.sqrt(len(sums))
    assert abs(sums.mean() - values.sum()) < 4 * error and error < 0.02 * values.sum()
    shares = drawn.mean(axis=0)
    assert shares[0] > 0.9 > shares[5] > shares[20] > shares[39] > 0.05


def test_candidates_are_a_function_of_the_seed():
    first, again, other = (
        draw_candidates(WORDS, 8, tf.constant(s)) for s in ((1, 2),) * 2 + ((2, 2),)
    )
    np.testing.assert_array_equal(first.ids, again.ids)
    assert np.any(first.ids != other.ids)
