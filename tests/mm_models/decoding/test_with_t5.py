"""Decoding T5: cached steps in loops give what passes over whole sequences give."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.t5 import START_ID, T5, T5Config, shift_right
from mm_models.decoding.beam_search import beam_search
from mm_models.decoding.sampling import greedy
from mm_models.decoding.scoring import score_labels
from tests.mm_models.decoding.toys import draw_weights, run_both

LENGTH, VOCABULARY = 12, 16
END_ID = 2  # an id that the untrained model writes in some rows and not in others


@pytest.fixture(scope="module")
def case():
    """A model whose rows end at different lengths, inputs and their mask."""
    model = T5(T5Config("debug", vocabulary_size=VOCABULARY))
    draw_weights(model, np.random.default_rng(4))
    inputs = tf.constant(np.random.default_rng(1).integers(2, VOCABULARY, [4, 7]), tf.int32)
    mask = tf.constant([[1.0] * 7, [1.0] * 4 + [0.0] * 3, [1.0] * 2 + [0.0] * 5, [1.0] * 6 + [0.0]])
    return model, inputs, mask


def _log_probabilities(model, inputs, mask, targets):
    """float[batch, tokens, vocabulary] with the whole target read at once."""
    memory = model.encode(model.embed(inputs), mask)
    return tf.nn.log_softmax(model.decode(shift_right(targets), memory, mask)).numpy()


def _uncached(model, inputs, mask):
    """Greedy ids and scores, a pass over all of the ids for every new one."""
    ids, ended = np.zeros([len(inputs), LENGTH], np.int32), np.zeros(len(inputs), bool)
    scores = np.zeros(len(inputs))
    # Compiled once: what is behind a position does not matter to it.
    whole = tf.function(lambda ids: _logits(model, inputs, mask, ids), autograph=False)
    for place in range(LENGTH):
        gains = tf.nn.log_softmax(whole(tf.constant(ids))[:, place]).numpy()
        chosen = np.where(ended, 0, gains.argmax(-1))
        ids[:, place] = chosen
        scores += np.where(ended, 0.0, gains.max(-1))
        ended |= chosen == END_ID
    return ids, scores


def _logits(model, inputs, mask, targets):
    memory = model.encode(model.embed(inputs), mask)
    return model.decode(shift_right(targets), memory, mask)


def _start(model, inputs, mask, num_beams=1):
    memory = model.encode(model.embed(inputs), mask)
    return model.start(memory, mask, LENGTH, num_beams), tf.fill([len(inputs)], START_ID)


def test_cached_greedy_is_uncached_greedy(case):
    model, inputs, mask = case
    ids, scores = _uncached(model, inputs, mask)
    decoded = run_both(
        lambda: greedy(model.step, *_start(model, inputs, mask), max_length=LENGTH, end_id=END_ID)
    )
    np.testing.assert_array_equal(decoded.ids, ids)
    np.testing.assert_allclose(decoded.scores, scores, atol=1e-4)
    assert len(set(decoded.lengths.tolist())) > 1
    assert len({tuple(row) for row in ids.tolist()}) == len(ids)


def test_beams_have_the_scores_of_whole_sequences(case):
    model, inputs, mask = case
    num_beams = 3
    decoded = run_both(
        lambda: beam_search(
            model.step,
            *_start(model, inputs, mask, num_beams),
            max_length=LENGTH,
            end_id=END_ID,
            num_beams=num_beams,
            length_penalty="plain",
            alpha=1.0,
        )
    )
    for beam in range(num_beams):
        ids, lengths = decoded.ids[:, beam], decoded.lengths[:, beam]
        gains = _log_probabilities(model, inputs, mask, tf.constant(ids))
        chosen = np.take_along_axis(gains, ids[:, :, None], axis=2)[:, :, 0]
        written = np.arange(LENGTH) < lengths[:, None]
        expected = (chosen * written).sum(1) / lengths
        np.testing.assert_allclose(decoded.scores[:, beam], expected, atol=1e-4)
    for row in decoded.ids.tolist():
        assert len({tuple(ids) for ids in row}) == num_beams


@pytest.mark.parametrize("labels_per_call", [1, 3])
def test_label_scores_are_those_of_each_label_alone(case, labels_per_call):
    model, inputs, mask = case
    labels = np.array([[5, 6, 1, 0], [7, 1, 0, 0], [5, 9, 11, 1], [1, 0, 0, 0]], np.int32)

    def call():
        memory = model.encode(model.embed(inputs), mask)

        def decode(decoder_ids, segments):
            segments = None if segments is None else (segments, None)
            return model.decode(decoder_ids, memory, mask, segments=segments)

        return score_labels(
            decode,
            tf.constant(labels),
            batch_size=len(inputs),
            start_id=START_ID,
            labels_per_call=labels_per_call,
        )

    scores = tf.function(call, autograph=False)().numpy()
    for index, label in enumerate(labels):
        targets = tf.repeat(tf.constant(label)[None], len(inputs), axis=0)
        gains = _log_probabilities(model, inputs, mask, targets)
        length = int((label > 0).sum())
        expected = gains[:, np.arange(length), label[:length]].sum(1)
        np.testing.assert_allclose(scores[:, index], expected, atol=1e-4)
