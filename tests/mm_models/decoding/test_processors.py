"""Constraints on ids, and several branches per sample."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding.beam_search import beam_search
from mm_models.decoding.guidance import Guidance, classifier_free_weights, two_condition_weights
from mm_models.decoding.processors import LegalIds, MinimumLength, NoRepeatNgram
from mm_models.decoding.sampling import greedy, sample
from mm_models.decoding.state import DecoderState
from tests.mm_models.decoding.toys import END, HistoryModel, PrefixLanguageModel, run_both

LOGITS = tf.constant([[0.1, 0.2, 0.3, 0.4, 0.5], [5.0, 4.0, 3.0, 2.0, 1.0]])


def _legal(processor, ids, position, logits=LOGITS):
    result = run_both(lambda now: processor(logits, tf.constant(ids), now), tf.constant(position))
    possible = np.isfinite(result)
    np.testing.assert_array_equal(result[possible], logits.numpy()[possible])
    return [np.flatnonzero(row).tolist() for row in possible]


NOTHING = np.zeros([2, 4], np.int32)
SETS = np.array([[0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 0, 0, 1]], bool)


def test_legal_ids_by_position_for_all_rows_or_for_each():
    shared = LegalIds(SETS, [1, 2, 0])
    assert _legal(shared, NOTHING, 0) == [[2, 3], [2, 3]]
    assert _legal(shared, NOTHING, 1) == [[0, 4], [0, 4]]
    assert _legal(shared, NOTHING, 3) == [[1], [1]]  # the last position's set goes on
    each = LegalIds(SETS, [[1, 2], [0, 1]])
    assert _legal(each, NOTHING, 0) == [[2, 3], [1]]
    four_rows = tf.concat([LOGITS, LOGITS], axis=0)  # two beams of each row
    assert _legal(each, NOTHING, 0, four_rows) == [[2, 3], [2, 3], [1], [1]]


@pytest.mark.parametrize(
    ("sets", "positions"), [([[False, False]], [0]), ([[True, False]], [1]), ([True], [0])]
)
def test_impossible_grammars_are_refused(sets, positions):
    with pytest.raises(ValueError, match="set"):
        LegalIds(sets, positions)


def test_no_illegal_id_in_a_thousand_draws_or_beams():
    grammar = np.array([1, 1, 2, 1, 2, 2, 0])
    rows = 200
    model = HistoryModel(5, batch=rows, seed=3, scale=4.0)
    common = {"max_length": 7, "end_id": None, "processors": [LegalIds(SETS, grammar)]}
    drawn = run_both(
        lambda: sample(
            model.step, model.start(), model.start_ids(), seed=tf.constant([1, 2]), **common
        )
    )
    found = beam_search(model.step, model.start(3), model.start_ids(), num_beams=3, **common)
    for place, number in enumerate(grammar):
        assert SETS[number][drawn.ids[:, place]].all()
        assert SETS[number][found.ids.numpy()[:, :, place]].all()
    assert len(set(drawn.ids[:, 0].tolist())) == 2


def test_the_end_waits_for_the_minimum_length():
    processor = MinimumLength(2, END)
    assert _legal(processor, NOTHING, 1) == [[0, 2, 3, 4]] * 2
    assert _legal(processor, NOTHING, 2) == [[0, 1, 2, 3, 4]] * 2


def test_no_run_of_ids_comes_twice():
    ids = [[2, 3, 2, 3, 2, 0, 0], [4, 4, 2, 2, 4, 0, 0]]
    assert _legal(NoRepeatNgram(1), ids, 5) == [[0, 1, 4], [0, 1, 3]]
    assert _legal(NoRepeatNgram(2), ids, 5) == [[0, 1, 2, 4], [0, 1, 3]]
    assert _legal(NoRepeatNgram(3), ids, 5) == [[0, 1, 2, 4], [0, 1, 2, 3, 4]]
    # Places that are not written yet hold 0 and count for nothing.
    assert _legal(NoRepeatNgram(1), NOTHING, 0) == [[0, 1, 2, 3, 4]] * 2
    assert _legal(NoRepeatNgram(9), ids, 5) == [[0, 1, 2, 3, 4]] * 2
    model = HistoryModel(5, batch=6, seed=3)
    decoded = greedy(
        model.step,
        model.start(),
        model.start_ids(),
        max_length=12,
        end_id=None,
        processors=[NoRepeatNgram(2)],
    )
    for row in decoded.ids.numpy():
        pairs = list(zip(row[:-1], row[1:], strict=True))
        assert len(set(pairs)) == len(pairs)


def test_guidance_arithmetic():
    conditional, unconditional = [2.0, 1.0, 0.0, -1.0], [1.0, 1.0, 0.5, 0.0]
    guided = Guidance(classifier_free_weights(3.0)).combine(
        tf.constant([[conditional, unconditional]])
    )
    np.testing.assert_allclose(guided, [[4, 1, -1, -3]])
    np.testing.assert_allclose(
        tf.nn.softmax(guided), [[0.945683, 0.047083, 0.006372, 0.000862]], atol=1e-6, rtol=1e-4
    )
    both, first, none = [2.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.5, 0.0]
    for scales, expected in (((1.0, 4.0), [5, 0, 1]), ((2.0, 8.0), [10, -0.5, 2])):
        guidance = Guidance(two_condition_weights(*scales))
        branches = np.array([both, first, none], np.float32)[list(guidance.branches)]
        np.testing.assert_allclose(guidance.combine(tf.constant(branches[None])), [expected])
    # With a first scale of 1 the branch without conditions is not run, with 1 only one is.
    assert Guidance(two_condition_weights(1.0, 4.0)).branches == (0, 1)
    assert Guidance(classifier_free_weights(1.0)).branches == (0,)
    assert Guidance([classifier_free_weights(1.0), classifier_free_weights(2.0)]).branches == (0, 1)


VOCABULARY, PROMPT, LENGTH = 11, 5, 6


def _branch_prompts():
    """Two samples, each with a prompt and a null prompt, [samples * branches, PROMPT]."""
    prompts = np.random.default_rng(1).integers(2, VOCABULARY, [2, 2, PROMPT])
    prompts[:, 1, 1:-1] = 0
    return tf.constant(prompts.reshape(4, PROMPT), tf.int32)


def test_guided_cached_decoding_is_guided_decoding_of_whole_sequences():
    """Guidance is off at the first two positions, which the table says."""
    model = PrefixLanguageModel(VOCABULARY, PROMPT + LENGTH)
    table = [classifier_free_weights(1.0)] * 2 + [classifier_free_weights(2.5)]
    guidance = Guidance(table)
    prompts = _branch_prompts()
    valid = prompts > 0

    def call(method, **options):
        logits, state = model.prefill(prompts, valid)
        first = guidance.combine(tf.reshape(logits, [2, 2, VOCABULARY]))
        beams = options.get("num_beams", 1)
        # Rows of the cache: samples, then beams, then branches.
        cache = tf.nest.map_structure(
            lambda values: tf.reshape(
                tf.repeat(tf.reshape(values, [2, 1, 2, *values.shape[1:]]), beams, axis=1),
                [4 * beams, *values.shape[1:]],
            ),
            state.cache,
        )
        return method(
            guidance.step(model.step, PROMPT - 1),
            DecoderState(cache),
            tf.zeros([2], tf.int32),
            max_length=LENGTH,
            end_id=None,
            first_logits=first,
            first_position=PROMPT - 1,
            **options,
        )

    decoded = run_both(lambda: call(greedy))
    _assert_greedy(model, guidance, prompts, decoded)
    search = tf.function(
        lambda: call(beam_search, num_beams=2, length_penalty="none"), autograph=False
    )
    found = tf.nest.map_structure(lambda value: value.numpy(), search())
    # The scores of beams are those of whole sequences too.
    for sample_index in range(2):
        for beam in range(2):
            score = _guided_score(
                model, guidance, prompts, sample_index, found.ids[sample_index, beam]
            )
            assert found.scores[sample_index, beam] == pytest.approx(score, abs=1e-3)


def _guided_logits(model, guidance, prompts, sample_index, ids):
    """float32[ids + 1, vocabulary] by full passes over both branches."""
    branches = prompts[2 * sample_index : 2 * sample_index + 2]
    written = tf.constant(np.tile(np.asarray(ids, np.int32), [2, 1]))
    whole = tf.concat([branches, written], axis=1)
    valid = tf.concat([branches > 0, tf.ones(written.shape, tf.bool)], axis=1)
    logits = model.forward(whole, tf.constant([PROMPT, PROMPT]), valid)[:, PROMPT - 1 :]
    weights = np.array([guidance._table[min(n, 2)] for n in range(logits.shape[1])])
    return np.einsum("btv,tb->tv", logits.numpy(), weights)


def _guided_score(model, guidance, prompts, sample_index, ids):
    logits = _guided_logits(model, guidance, prompts, sample_index, ids)[:-1]
    gains = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return gains[np.arange(len(ids)), ids].sum()


def _assert_greedy(model, guidance, prompts, decoded):
    for sample_index, ids in enumerate(decoded.ids):
        logits = _guided_logits(model, guidance, prompts, sample_index, ids)[:-1]
        np.testing.assert_array_equal(ids, logits.argmax(-1))
        score = _guided_score(model, guidance, prompts, sample_index, ids)
        assert decoded.scores[sample_index] == pytest.approx(score, abs=1e-3)
