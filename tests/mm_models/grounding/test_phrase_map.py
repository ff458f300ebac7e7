"""Maps of words at their best levels, of phrases and of sentences, by hand."""

import numpy as np
import tensorflow as tf

from mm_models.contracts import GroundedVectors
from mm_models.grounding import phrase_map

# Two words, a frame, 1 x 2 regions, two levels.
HEAT = np.array([[[[[0.5, 0.0], [0.1, 0.9]]]], [[[[0.2, 0.3], [0.4, 0.7]]]]], np.float32)[None]
SCORES = np.array([[[[0.8, 0.1]], [[0.0, 0.2]]]], np.float32)


def test_words_are_seen_at_their_best_level_and_phrases_by_the_scores_of_their_words():
    words = phrase_map.word_maps(GroundedVectors(tf.constant(HEAT), tf.constant(SCORES)))
    assert words.levels.numpy().tolist() == [[[0], [1]]]
    np.testing.assert_allclose(words.heat[0, :, 0, 0], [[0.5, 0.1], [0.3, 0.7]])
    np.testing.assert_allclose(words.scores[0, :, 0], [0.8, 0.2])
    whole = phrase_map.phrase_maps(words, tf.ones([1, 2]))
    expected = 0.8 * np.array([0.5, 0.1]) + 0.2 * np.array([0.3, 0.7])
    np.testing.assert_allclose(whole.heat[0, 0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(whole.scores, [[0.5]])
    second = phrase_map.phrase_maps(words, tf.constant([[0.0, 1.0]]))
    np.testing.assert_allclose(second.heat[0, 0, 0], [0.3, 0.7], atol=1e-6)
    np.testing.assert_allclose(second.scores, [[0.2]])
    none = phrase_map.phrase_maps(words, tf.zeros([1, 2]))
    assert not np.any(none.heat) and not np.any(none.scores)


def test_words_without_scores_leave_no_heat():
    words = phrase_map.word_maps(GroundedVectors(tf.constant(HEAT), tf.zeros_like(SCORES)))
    found = phrase_map.phrase_maps(words, tf.ones([1, 2]))
    assert words.levels.numpy().tolist() == [[[0], [0]]] and not np.any(found.heat)


def test_a_sentence_is_the_only_word_of_its_row():
    found = phrase_map.sentence_maps(
        GroundedVectors(tf.constant(HEAT[:, 1:]), tf.constant(SCORES[:, 1:]))
    )
    np.testing.assert_allclose(found.heat[0, 0, 0], [0.3, 0.7])
    np.testing.assert_allclose(found.scores, [[0.2]])


def test_points_are_the_first_of_the_hottest_but_for_rounding():
    heat = tf.constant([[[0.1, 0.5 - 1e-7, 0.2], [0.5, 0.3, 0.5]], [[0.0] * 3] * 2])
    assert phrase_map.hottest_points(heat).numpy().tolist() == [[0, 1], [0, 0]]
    assert phrase_map.first_largest(tf.constant([0.2, 0.3, 0.3])).numpy() == 1
