"""Scores of given labels: hand-computed, one by one or packed."""

import numpy as np
import tensorflow as tf

from mm_models.decoding.scoring import score_labels
from tests.mm_models.decoding.toys import run_both

# The chain's probabilities of the next id, by the id before; 0 starts and pads, 1 ends.
NEXT = np.array(
    [[0.1, 0.1, 0.5, 0.3], [0.25, 0.25, 0.25, 0.25], [0.1, 0.4, 0.2, 0.3], [0.2, 0.6, 0.1, 0.1]]
)
LABELS = [[2, 1, 0], [3, 1, 0], [2, 3, 1], [1, 0, 0], [2, 2, 1]]
BY_HAND = np.log([0.5 * 0.4, 0.3 * 0.6, 0.5 * 0.3 * 0.6, 0.1, 0.5 * 0.2 * 0.4])


def _chain(decoder_ids, segments):
    # Row 1 prefers id 3 wherever it is; logits are not normalised.
    logits = tf.gather(tf.constant(np.log(NEXT), tf.float32), decoder_ids) + 2.0
    return logits + tf.constant([[[0.0] * 4], [[0.0, 0.0, 0.0, 1.0]]])


def _scores(decode, labels_per_call):
    return run_both(
        lambda: score_labels(
            decode,
            tf.constant(LABELS),
            batch_size=2,
            start_id=0,
            labels_per_call=labels_per_call,
        )
    )


def test_scores_by_hand_however_many_labels_a_call_reads():
    for labels_per_call in (1, 2, 5, 9):
        scores = _scores(_chain, labels_per_call)
        assert scores.shape == (2, 5)
        np.testing.assert_allclose(scores[0], BY_HAND, rtol=1e-5)
    assert scores[1].argmax() == 1 and scores[0].argmax() == 0


def test_rows_with_labels_of_their_own_of_any_number():
    own = tf.constant([LABELS, LABELS[::-1]])
    free = tf.function(
        lambda ids: score_labels(_chain, ids, batch_size=2, start_id=0, labels_per_call=2),
        input_signature=[tf.TensorSpec([2, None, 3], tf.int32)],
    )
    shared = _scores(_chain, 2)
    for scores in (free(own), score_labels(_chain, own, batch_size=2, start_id=0)):
        np.testing.assert_allclose(scores, [shared[0], shared[1, ::-1]], rtol=1e-5)
    np.testing.assert_allclose(free(own[:, :1]), [shared[0, :1], shared[1, 4:]], rtol=1e-5)


def test_packed_labels_are_told_apart_by_segments():
    seen = []

    def decode(decoder_ids, segments):
        seen.append((decoder_ids.shape, segments))
        return _chain(decoder_ids, segments)

    score_labels(decode, tf.constant(LABELS), batch_size=2, start_id=0, labels_per_call=2)
    assert seen[0][0] == (2, 6)
    np.testing.assert_array_equal(seen[0][1], [[1, 1, 1, 2, 2, 2]] * 2)
    seen.clear()
    score_labels(decode, tf.constant(LABELS), batch_size=2, start_id=0)
    assert seen[0][1] is None
