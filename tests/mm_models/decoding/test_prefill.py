"""Prompts read at once: masks, and cached decoding against passes over the whole sequence."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding.beam_search import beam_search
from mm_models.decoding.prefill import for_beams, prefix_mask, prompt_mask, step_mask
from mm_models.decoding.sampling import greedy
from mm_models.decoding.state import DecoderState
from tests.mm_models.decoding.toys import PrefixLanguageModel, run_both

VOCABULARY, PROMPT, LENGTH = 13, 4, 7


def test_prefix_masks_golden():
    rows = ["111000", "111000", "111000", "111100", "111110", "111111"]
    mask = prefix_mask(tf.constant([3, 1]), 6).numpy().astype(int)
    np.testing.assert_array_equal(mask[0], [[int(digit) for digit in row] for row in rows])
    np.testing.assert_array_equal(mask[1], np.tril(np.ones([6, 6], int)))
    # T (T + 1) / 2 + P (P - 1) / 2 pairs are seen.
    assert int(tf.reduce_sum(prefix_mask(tf.constant([69]), 1352))) == 916_974
    valid = tf.constant([[True, False, True, True]])
    assert not prefix_mask(tf.constant([3]), 4, valid)[0, :, 1].numpy().any()
    np.testing.assert_array_equal(prompt_mask(valid[:, :3], 5)[0], [[1, 0, 1, 0, 0]] * 3)
    np.testing.assert_array_equal(step_mask(tf.constant(3), valid[:, :2], 5)[0], [[1, 0, 1, 1, 0]])


@pytest.fixture(scope="module")
def case():
    model = PrefixLanguageModel(VOCABULARY, PROMPT + LENGTH)
    prompts = np.random.default_rng(0).integers(2, VOCABULARY, [3, PROMPT])
    prompts[0, 1] = prompts[2, 2] = 0  # padding inside a prompt
    return model, tf.constant(prompts, tf.int32)


def _check_against_whole(model, prompts, decoded):
    whole = tf.concat([prompts, decoded.ids], axis=1)
    valid = tf.concat([prompts > 0, tf.ones(decoded.ids.shape, tf.bool)], axis=1)
    logits = model.forward(whole, tf.fill([len(prompts)], PROMPT), valid).numpy()
    expected = logits[:, PROMPT - 1 : -1].argmax(-1)
    np.testing.assert_array_equal(decoded.ids, expected)
    gains = tf.nn.log_softmax(logits[:, PROMPT - 1 : -1])
    scores = tf.reduce_sum(tf.gather(gains, expected, batch_dims=2), 1)
    np.testing.assert_allclose(decoded.scores, scores, atol=1e-4)


def test_decoding_after_a_prompt_is_decoding_of_whole_sequences(case):
    model, prompts = case

    def from_logits():
        logits, state = model.prefill(prompts, prompts > 0)
        return greedy(
            model.step,
            state,
            prompts[:, -1],
            max_length=LENGTH,
            end_id=None,
            first_logits=logits,
            first_position=PROMPT - 1,
        )

    decoded = run_both(from_logits)
    _check_against_whole(model, prompts, decoded)

    def from_last_id():
        # The step of the prompt's last id writes the same keys and values again.
        _, state = model.prefill(prompts, prompts > 0)
        return greedy(
            model.step,
            state,
            prompts[:, -1],
            max_length=LENGTH,
            end_id=None,
            first_position=PROMPT - 1,
        )

    np.testing.assert_array_equal(run_both(from_last_id).ids, decoded.ids)


def test_a_prompt_matters_in_both_directions_and_its_padding_does_not(case):
    model, prompts = case
    lengths = tf.fill([3], PROMPT)
    first = model.forward(prompts, lengths, prompts > 0)[:, 0]
    changed = tf.tensor_scatter_nd_update(prompts, [[1, 3]], [(prompts[1, 3] + 1) % VOCABULARY])
    moved = tf.abs(model.forward(changed, lengths, changed > 0)[:, 0] - first)
    assert np.all(np.max(moved[1]) > 1e-3) and np.max(moved[0]) == 0
    padding = tf.where(prompts == 0, 7, prompts)
    logits, _ = model.prefill(prompts, prompts > 0)
    again, _ = model.prefill(padding, prompts > 0)
    np.testing.assert_allclose(logits[1:2], again[1:2], atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(logits, again, atol=1e-5, rtol=1e-4)


def test_one_beam_is_greedy_and_more_find_at_least_as_much(case):
    model, prompts = case

    def call(num_beams):
        logits, state = model.prefill(prompts, prompts > 0)
        return beam_search(
            model.step,
            DecoderState(for_beams(state.cache, num_beams)),
            prompts[:, -1],
            max_length=LENGTH,
            end_id=None,
            num_beams=num_beams,
            length_penalty="none",
            first_logits=logits,
            first_position=PROMPT - 1,
        )

    plain = tf.function(call, autograph=False)
    one = tf.nest.map_structure(lambda value: value.numpy(), plain(1))
    _check_against_whole(model, prompts, type(one)(*(value[:, 0] for value in one)))
    four = tf.nest.map_structure(lambda value: value.numpy(), plain(4))
    assert np.all(four.scores[:, 0] >= one.scores[:, 0] - 1e-4)
    for place in range(4):
        ids = four.ids[:, place]
        whole = tf.concat([prompts, ids], axis=1)
        valid = tf.concat([prompts > 0, tf.ones(ids.shape, tf.bool)], axis=1)
        logits = model.forward(whole, tf.fill([3], PROMPT), valid)[:, PROMPT - 1 : -1]
        gains = tf.gather(tf.nn.log_softmax(logits), ids, batch_dims=2)
        np.testing.assert_allclose(four.scores[:, place], tf.reduce_sum(gains, 1), atol=1e-3)
