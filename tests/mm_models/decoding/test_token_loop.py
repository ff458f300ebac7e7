"""Greedy decoding and the loop under it: ends, limits, forced ids, partial results."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding.sampling import greedy, most_probable
from mm_models.decoding.state import DecoderState, log_probabilities
from mm_models.decoding.token_loop import TokenLoop
from tests.mm_models.decoding.toys import END, START, HistoryModel, run_both

BATCH, LENGTH = 6, 9


def _model(seed=2):
    return HistoryModel(5, batch=BATCH, seed=seed)


def _expected(model, row, end_id=END, length=LENGTH, forced=()):
    ids, score = [], 0.0
    while len(ids) < length and (not ids or ids[-1] != end_id):
        gains = model.log_probabilities(ids, row)
        if len(ids) < len(forced) and forced[len(ids)] >= 0:
            ids.append(forced[len(ids)])
            continue
        ids.append(int(np.argmax(gains)))
        score += gains[ids[-1]]
    return ids, score


def _check(decoded, model, **how):
    for row in range(BATCH):
        ids, score = _expected(model, row, **how)
        np.testing.assert_array_equal(decoded.ids[row], ids + [0] * (LENGTH - len(ids)))
        assert decoded.lengths[row] == len(ids)
        assert decoded.scores[row] == pytest.approx(score, abs=1e-4)


def test_greedy_takes_the_most_probable_id_until_each_row_ends():
    model = _model()
    decoded = run_both(
        lambda: greedy(model.step, model.start(), model.start_ids(), max_length=LENGTH, end_id=END)
    )
    _check(decoded, model)
    # The case has rows of several lengths, one of them without an end.
    assert len(set(decoded.lengths.tolist())) > 2 and LENGTH in decoded.lengths


def test_a_fixed_length_writes_on_over_any_id():
    model = _model()
    decoded = run_both(
        lambda: greedy(model.step, model.start(), model.start_ids(), max_length=LENGTH, end_id=None)
    )
    _check(decoded, model, end_id=None)
    assert (decoded.ids == END).any() and (decoded.lengths == LENGTH).all()


def test_the_lowest_of_equal_logits_is_chosen():
    logits = tf.constant([[0.0, 2.0, 2.0, 1.0, 2.0], [3.0, 3.0, 3.0, 3.0, 3.0]])
    np.testing.assert_array_equal(run_both(lambda: most_probable(logits, 0)), [1, 0])


def test_forced_ids_stand_wherever_they_are_and_do_not_count():
    model = _model()
    forced = np.full([BATCH, 6], -1, np.int32)
    forced[:, 0] = 3
    forced[1::2, 1] = 2  # a longer prefix for every other row
    forced[:, 4] = 4
    forced[5, 2] = END
    decoded = run_both(
        lambda: greedy(
            model.step,
            model.start(),
            model.start_ids(),
            max_length=LENGTH,
            end_id=END,
            forced_ids=tf.constant(forced),
        )
    )
    for row in range(BATCH):
        ids, score = _expected(model, row, forced=forced[row].tolist())
        np.testing.assert_array_equal(decoded.ids[row], ids + [0] * (LENGTH - len(ids)))
        assert decoded.scores[row] == pytest.approx(score, abs=1e-4)
    assert decoded.lengths[5] == 3


def test_the_loop_stops_when_all_rows_have_ended():
    # The third id is the end, whatever the ids before were.
    def step(ids, position, state):
        wanted = tf.where(position >= 2, END, 3)
        logits = tf.one_hot(tf.fill([2], wanted), 5) * 10.0
        return logits, DecoderState(state.cache + 1)

    def steps(end_id):
        loop = TokenLoop(step, most_probable, LENGTH, end_id)
        started = loop.start(DecoderState(tf.zeros([2], tf.int32)), tf.zeros([2], tf.int32))
        return loop.advance(started).cache

    np.testing.assert_array_equal(run_both(lambda: steps(END)), [3, 3])
    np.testing.assert_array_equal(run_both(lambda: steps(None)), [LENGTH, LENGTH])


def test_a_limit_gives_what_a_loop_of_that_length_gives():
    model = _model()

    def call(max_length, limit=None):
        return greedy(
            model.step,
            model.start(),
            model.start_ids(),
            max_length=max_length,
            end_id=END,
            limit=limit,
        )

    limited = run_both(lambda limit: call(LENGTH, limit), tf.constant(4))
    short = run_both(lambda: call(4))
    np.testing.assert_array_equal(limited.ids[:, :4], short.ids)
    assert not limited.ids[:, 4:].any()
    np.testing.assert_array_equal(limited.lengths, short.lengths)
    np.testing.assert_allclose(limited.scores, short.scores, rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_partial_results_are_prefixes_of_the_whole_and_need_one_graph(jit_compile):
    model = _model()
    loop = TokenLoop(model.step, most_probable, LENGTH, END)
    memory = model.start().memory
    advance = tf.function(
        lambda progress, until: loop.advance(progress, memory, until),
        jit_compile=jit_compile,
        autograph=False,
    )
    progress = loop.start(model.start(), model.start_ids())
    whole = loop.run(model.start(), model.start_ids())
    for until in (1, 3, 4, LENGTH):
        progress = advance(progress, tf.constant(until))
        np.testing.assert_array_equal(progress.ids[:, :until], whole.ids[:, :until])
        assert not progress.ids[:, until:].numpy().any()
    np.testing.assert_allclose(progress.decoded().scores, whole.scores, rtol=1e-5)
    assert advance.experimental_get_tracing_count() == 1


def test_a_batch_of_unknown_size_decodes():
    model = _model()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)
    def call(start_ids):
        cache = {"number": tf.zeros_like(start_ids), "steps": tf.zeros_like(start_ids)[:, None]}
        state = DecoderState(cache, (tf.constant(model.bias),))
        return greedy(model.step, state, start_ids, max_length=LENGTH, end_id=END)

    decoded = call(tf.fill([BATCH], START))
    _check(type(decoded)(*(value.numpy() for value in decoded)), model)


def test_a_step_that_changes_the_shape_of_its_cache_is_refused():
    def step(ids, position, state):
        return tf.zeros([2, 5]), DecoderState(tf.concat([state.cache, state.cache], axis=1))

    @tf.function(autograph=False)
    def call():
        state, starts = DecoderState(tf.zeros([2, 1])), tf.zeros([2], tf.int32)
        return greedy(step, state, starts, max_length=3, end_id=END)

    with pytest.raises(ValueError, match="shape"):
        call()


def test_log_probabilities_survive_a_row_without_any_possible_id():
    never = -np.inf
    logits = tf.constant([[never, never], [never, 1.0], [0.0, np.log(3.0)]], tf.float32)
    expected = [[never, never], [never, 0.0], [np.log(0.25), np.log(0.75)]]
    np.testing.assert_allclose(run_both(lambda: log_probabilities(logits)), expected, rtol=1e-6)
