"""Scores of sentences with pictures, against the formulas in NumPy and by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mm_models.grounding import pairwise

SHARPNESS = 5.0


def unit(random, *shape):
    vectors = random.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def reference(words, word_mask, regions):
    """[pictures, sentences] by the formulas as they are written, one pair and word at a time."""
    found = np.zeros((len(regions), len(words)))
    for picture, places in enumerate(regions.astype(np.float64)):
        for sentence, vectors in enumerate(words.astype(np.float64)):
            total = 0.0
            for vector in vectors[word_mask[sentence] > 0]:
                by_level = []
                for level in range(places.shape[1]):
                    heat = np.maximum(places[:, level] @ vector, 0.0)
                    attended = heat @ places[:, level]
                    length = np.linalg.norm(attended)
                    by_level.append(attended @ vector / length if length else 0.0)
                total += math.exp(SHARPNESS * max(by_level))
            found[picture, sentence] = math.log(total) / SHARPNESS
    return found


@pytest.mark.parametrize(("num_regions", "dim"), [(6, 9), (12, 5)])
def test_scores_equal_the_formulas_whichever_way_is_shorter(num_regions, dim):
    random = np.random.default_rng(0)
    words, regions = unit(random, 3, 4, dim), unit(random, 2, num_regions, 3, dim)
    mask = np.float32([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    scores = pairwise.all_scores(words, mask, tf.constant(regions), sharpness=SHARPNESS)
    np.testing.assert_allclose(scores, reference(words, mask, regions), rtol=2e-6, atol=2e-6)


def test_own_scores_are_the_diagonal():
    random = np.random.default_rng(1)
    words, regions = unit(random, 3, 4, 7), unit(random, 3, 5, 2, 7)
    mask = np.float32([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    every = pairwise.all_scores(words, mask, tf.constant(regions), sharpness=SHARPNESS)
    own = pairwise.own_scores(tf.constant(words), mask, tf.constant(regions), sharpness=SHARPNESS)
    np.testing.assert_allclose(own, np.diag(every), rtol=1e-6)


@pytest.mark.parametrize("images_per_chunk", [1, 2, 3])
def test_chunks_change_nothing(images_per_chunk):
    """Five pictures, which two and three do not divide; gradients too, and compiled."""
    random = np.random.default_rng(2)
    words, regions = tf.constant(unit(random, 4, 3, 8)), tf.constant(unit(random, 5, 6, 2, 8))
    mask = tf.constant(np.float32(random.uniform(size=(4, 3)) > 0.3))
    upstream = tf.constant(random.normal(size=(5, 4)).astype(np.float32))

    @tf.function(jit_compile=True)
    def run(chunk):
        with tf.GradientTape() as tape:
            tape.watch((words, regions))
            scores = pairwise.all_scores(
                words, mask, regions, sharpness=SHARPNESS, images_per_chunk=chunk
            )
            total = tf.reduce_sum(scores * upstream)
        return scores, *tape.gradient(total, (words, regions))

    for whole, parts in zip(run(0), run(images_per_chunk), strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=1e-6)


def test_a_word_that_attends_to_nothing_scores_zero_with_finite_gradients():
    words = tf.constant([[[-1.0, 0.0]]])
    regions = tf.constant([[[[1.0, 0.0]], [[0.6, 0.8]]]])
    with tf.GradientTape() as tape:
        tape.watch((words, regions))
        score = pairwise.match_scores(words[0][tf.newaxis], regions)
    gradients = tape.gradient(score, (words, regions))
    assert score.numpy().ravel().tolist() == [0.0]
    assert all(np.isfinite(gradient.numpy()).all() for gradient in gradients)


def test_levels_and_aggregation_by_hand():
    """Level 0 shows the first word in one of two regions, level 1 the second in both."""
    words = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
    regions = tf.constant([[[[0.8, 0.6], [0.6, 0.8]], [[-1.0, 0.0], [-0.6, 0.8]]]])
    scores = pairwise.match_scores(words, regions)[0].numpy()
    # Heats of word 0 at level 0: .8 and 0; attended (.64, .48), whose cosine is .8.
    np.testing.assert_allclose(scores[0], [0.8, 0.6], rtol=1e-6)
    # Word 1 at level 1: both heats .8; attended (0, 1.28), whose cosine is 1.
    np.testing.assert_allclose(scores[1], [0.6, 1.0], rtol=1e-6)
    total = pairwise.sentence_scores(scores.max(axis=1), np.ones((1, 2), np.float32), SHARPNESS)
    expected = math.log(math.exp(5 * 0.8) + math.exp(5 * 1.0)) / 5
    np.testing.assert_allclose(total, [expected], rtol=1e-6)


def test_padding_adds_nothing_to_a_sentence():
    scores = np.float32([[0.3, 0.9, 0.5], [0.3, 0.9, 0.9]])
    mask = np.float32([[1, 1, 0], [1, 1, 0]])
    one, other = pairwise.sentence_scores(scores, mask, SHARPNESS).numpy()
    assert one == other
    assert one == pytest.approx(math.log(math.exp(1.5) + math.exp(4.5)) / 5, rel=1e-6)
