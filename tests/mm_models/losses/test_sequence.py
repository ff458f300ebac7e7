"""Token losses against float64 references and hand-computed cases; chunks change nothing."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.losses.sequence import chunked_token_terms, token_terms


def _reference(logits, targets, mask, z_loss_weight, smoothing):
    logits = logits.astype(np.float64)
    normalizer = np.log(np.exp(logits).sum(-1))
    log_p = logits - normalizer[..., None]
    vocabulary_size = logits.shape[-1]
    wanted = np.full(logits.shape, smoothing / (vocabulary_size - 1))
    np.put_along_axis(wanted, targets[..., None], 1 - smoothing, -1)
    least = (wanted * np.log(np.where(wanted > 0, wanted, 1))).sum(-1)
    loss = least - (wanted * log_p).sum(-1)
    z_loss = z_loss_weight * normalizer**2
    hits = logits.argmax(-1) == targets
    return [(values * mask).sum(1) for values in (loss + z_loss, z_loss, hits, np.ones_like(mask))]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_the_reference(smoothing):
    draw = np.random.default_rng(0)
    logits = draw.normal(size=[3, 6, 11]).astype(np.float32) * 3
    targets = draw.integers(0, 11, [3, 6]).astype(np.int32)
    mask = (draw.uniform(size=[3, 6]) > 0.3).astype(np.float32)
    terms = token_terms(logits, targets, mask, z_loss_weight=0.01, label_smoothing=smoothing)
    for term, expected in zip(
        terms, _reference(logits, targets, mask, 0.01, smoothing), strict=True
    ):
        np.testing.assert_allclose(term, expected, rtol=1e-5)


def test_a_uniform_guess_costs_the_log_of_the_vocabulary():
    terms = token_terms(tf.zeros([1, 2, 8]), tf.zeros([1, 2], tf.int32), tf.ones([1, 2]))
    np.testing.assert_allclose(terms.loss, [2 * np.log(8)], rtol=1e-6)
    assert float(terms.z_loss[0]) == 0.0


@pytest.mark.parametrize("jit_compile", [False, True])
def test_chunks_change_neither_values_nor_gradients(jit_compile):
    draw = np.random.default_rng(1)
    kernel = tf.Variable(draw.normal(size=[5, 13]), dtype=tf.float32)
    hidden = tf.constant(draw.normal(size=[2, 6, 5]), tf.float32)
    targets = tf.constant(draw.integers(0, 13, [2, 6]), tf.int32)
    mask = tf.constant([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], tf.float32)

    @tf.function(jit_compile=jit_compile)
    def run(num_chunks):
        with tf.GradientTape() as tape:
            tape.watch(hidden)
            terms = chunked_token_terms(
                hidden,
                lambda some: some @ kernel,
                targets,
                mask,
                num_chunks=num_chunks,
                z_loss_weight=0.1,
                label_smoothing=0.2,
            )
            loss = tf.reduce_sum(terms.loss)
        return terms, tape.gradient(loss, [hidden, kernel])

    whole, cut = run(1), run(3)
    for expected, found in zip(tf.nest.flatten(whole), tf.nest.flatten(cut), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
