"""Beam search against all sequences, against a search written with lists, and by hand."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding import beam_search as beams
from mm_models.decoding.sampling import greedy
from mm_models.decoding.state import DecoderState, best
from tests.mm_models.decoding.toys import END, HistoryModel, run_both

PENALTIES = {
    "t5x": lambda length, alpha: ((5 + length) / 6) ** alpha,
    "plain": lambda length, alpha: length**alpha,
    "none": lambda length, alpha: 1.0,
}


def _search(model, num_beams, max_length, **options):
    options = {"end_id": END, "length_penalty": "t5x", "alpha": 0.6, **options}
    return beams.beam_search(
        model.step,
        model.start(num_beams),
        model.start_ids(),
        max_length=max_length,
        num_beams=num_beams,
        **options,
    )


def _all_sequences(model, row, max_length, penalty):
    """Every sequence that ends within the length, best first: (score, ids)."""
    found = []
    for length in range(1, max_length + 1):
        others = [value for value in range(model.vocabulary) if value != END]
        for ids in itertools.product(others, repeat=length - 1):
            whole = [*ids, END]
            gains = [
                model.log_probabilities(whole[:place], row)[value]
                for place, value in enumerate(whole)
            ]
            found.append((sum(gains) / penalty(length), whole))
    return sorted(found, key=lambda pair: -pair[0])


def _listed_search(model, row, num_beams, max_length, penalty):
    """The same search with lists, without stopping early."""
    live, finished = [(0.0, [])], []
    for _ in range(max_length):
        grown = [
            (score + gain, [*ids, value])
            for score, ids in live
            for value, gain in enumerate(model.log_probabilities(ids, row))
        ]
        grown = sorted(grown, key=lambda pair: -pair[0])[: 2 * num_beams]
        live = [pair for pair in grown if pair[1][-1] != END][:num_beams]
        finished += [(s / penalty(len(ids)), ids) for s, ids in grown if ids[-1] == END]
        finished = sorted(finished, key=lambda pair: -pair[0])[:num_beams]
    unfinished = [(score / penalty(max_length), ids) for score, ids in live]
    return (finished + unfinished)[:num_beams]


def _check(decoded, row, expected):
    for place, (score, ids) in enumerate(expected):
        length = int(decoded.lengths[row, place])
        assert decoded.ids[row, place, :length].tolist() == ids
        assert not decoded.ids[row, place, length:].any()
        assert decoded.scores[row, place] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize(("kind", "alpha"), [("t5x", 0.6), ("plain", 1.0), ("none", 0.6)])
def test_enough_beams_find_what_trying_every_sequence_finds(kind, alpha):
    model = HistoryModel(3, batch=3, seed=7)
    # No more than 2^3 sequences of any length go on, so that nothing is ever lost.
    decoded = run_both(lambda: _search(model, 8, 4, length_penalty=kind, alpha=alpha))
    for row in range(3):
        every = _all_sequences(model, row, 4, lambda n: PENALTIES[kind](n, alpha))
        _check(decoded, row, every[:8])


@pytest.mark.parametrize(("kind", "alpha"), [("t5x", 0.6), ("t5x", 3.0), ("plain", 1.0)])
def test_few_beams_find_what_the_same_search_with_lists_finds(kind, alpha):
    model = HistoryModel(7, batch=8, seed=1)
    decoded = run_both(lambda: _search(model, 3, 8, length_penalty=kind, alpha=alpha))
    for row in range(8):
        penalty = lambda n: PENALTIES[kind](n, alpha)  # noqa: E731
        _check(decoded, row, _listed_search(model, row, 3, 8, penalty))
    assert np.all(np.diff(decoded.scores, axis=1) <= 0)


class _Chain:
    """A Markov chain given by its transition matrix; its cache counts the steps."""

    def __init__(self, transitions):
        self.logits = tf.math.log(tf.constant(transitions, tf.float32))
        self.batch = 1

    def start(self, num_beams=1):
        return DecoderState(tf.zeros([num_beams, 1], tf.int32))

    def start_ids(self):
        return tf.constant([0])

    def step(self, ids, position, state):
        return tf.gather(self.logits, ids), DecoderState(state.cache + 1)


# From 0: to 2 with 0.6, to 3 with 0.4. 2 goes on in many ways, 3 ends for sure.
FORK = [
    [0.0, 0.0, 0.6, 0.4, 0.0],
    [0.2, 0.2, 0.2, 0.2, 0.2],
    [0.0, 0.3, 0.0, 0.3, 0.4],
    [0.0, 1.0, 0.0, 0.0, 0.0],
    [0.0, 0.5, 0.5, 0.0, 0.0],
]


def test_two_beams_see_the_fork_that_greedy_misses():
    chain = _Chain(FORK)
    first = best(greedy(chain.step, chain.start(), chain.start_ids(), max_length=6, end_id=END))
    # Greedy: 2 (0.6), 4 (0.4), then 0.5 either way, the end being the lower id.
    np.testing.assert_array_equal(first.ids[0], [2, 4, 1, 0, 0, 0])
    decoded = run_both(lambda: _search(chain, 2, 6, length_penalty="none"))
    np.testing.assert_array_equal(decoded.ids[0], [[3, 1, 0, 0, 0, 0], [2, 1, 0, 0, 0, 0]])
    np.testing.assert_allclose(np.exp(decoded.scores[0]), [0.4, 0.18], rtol=1e-5)
    np.testing.assert_array_equal(best(decoded).ids, decoded.ids[:, 0])


def test_the_length_penalty_decides_between_short_and_long():
    # 0.5 ends at once; 0.5 writes three ids more that are certain, then ends.
    chain = _Chain(
        [[0, 0.52, 0.48, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]
    )
    for kind, alpha, first in (("none", 0.0, 1), ("t5x", 0.6, 2), ("plain", 1.0, 2)):
        decoded = _search(chain, 2, 6, length_penalty=kind, alpha=alpha)
        assert int(decoded.ids[0, 0, 0]) == first
        by_hand = sorted(
            (np.log(0.52) / PENALTIES[kind](1, alpha), np.log(0.48) / PENALTIES[kind](4, alpha))
        )
        np.testing.assert_allclose(decoded.scores[0], by_hand[::-1], rtol=1e-5)


def _steps_taken(chain, num_beams, max_length, **options):
    search = beams._Search(
        chain.step, max_length, END, num_beams, beams.length_penalty(**options), (), None, 0
    )
    started = search.start(chain.start(num_beams), chain.start_ids(), max_length)
    return run_both(lambda: search.run(started, chain.start_ids(), None).position)


def test_the_search_stops_when_nothing_can_get_better_and_not_before():
    # After two steps 0.4 and 0.18 are finished and the live ones hold 0.24 and 0.18: without
    # penalty 0.24 could still come second; its best continuation 0.12 does not, and ends it.
    assert _steps_taken(_Chain(FORK), 2, 20, kind="none", alpha=0.0) == 3
    # Every step ends with 1/2. One step is finished with ln 1/2; t steps live hold t ln 1/2, which
    # is no better at once, nor over 2.354 = (25 / 6)^0.6 from t = 3 on, but over 20 up to t = 19.
    halves = _Chain([[0, 0.5, 0.5], [0, 1, 0], [0, 0.5, 0.5]])
    assert _steps_taken(halves, 1, 20, kind="none", alpha=0.0) == 1
    assert _steps_taken(halves, 1, 20, kind="t5x", alpha=0.6) == 3
    assert _steps_taken(halves, 1, 20, kind="plain", alpha=1.0) == 20
    # All mass has ended: nothing lives.
    certain = _Chain([[0, 1.0, 0], [0, 1.0, 0], [0, 1.0, 0]])
    assert _steps_taken(certain, 2, 20, kind="plain", alpha=1.0) == 1


def test_places_without_a_sequence_are_empty():
    decoded = _search(_Chain([[0, 1.0, 0], [0, 1.0, 0], [0, 1.0, 0]]), 3, 4)
    np.testing.assert_array_equal(decoded.ids[0], [[1, 0, 0, 0], [0] * 4, [0] * 4])
    np.testing.assert_array_equal(decoded.lengths[0], [1, 0, 0])
    np.testing.assert_allclose(decoded.scores[0], [0.0, -np.inf, -np.inf])


def test_rows_do_not_depend_on_their_batch_mates():
    whole = HistoryModel(7, batch=5, seed=1)
    decoded = run_both(lambda: _search(whole, 3, 8))
    alone = HistoryModel(7, batch=5, seed=1)
    alone.batch, alone.bias = 1, whole.bias[3:4]
    row = _search(alone, 3, 8)
    np.testing.assert_array_equal(row.ids[0], decoded.ids[3])
    np.testing.assert_allclose(row.scores[0], decoded.scores[3], rtol=1e-6)


def test_a_fixed_length_keeps_the_best_of_that_length():
    model = HistoryModel(3, batch=2, seed=3)
    decoded = run_both(lambda: _search(model, 9, 3, end_id=None, length_penalty="none"))
    for row in range(2):
        scores = {
            ids: sum(model.log_probabilities(ids[:n], row)[ids[n]] for n in range(3))
            for ids in itertools.product(range(3), repeat=3)
        }
        ranked = sorted(scores, key=lambda ids: -scores[ids])[:9]
        # 9 beams hold every pair, so the best 9 triples are exact.
        assert [tuple(ids) for ids in decoded.ids[row].tolist()] == ranked
    assert (decoded.lengths == 3).all()


def test_a_forced_prefix_is_one_beam_until_its_end_and_costs_nothing():
    model = HistoryModel(5, batch=2, seed=6)
    forced = np.array([[3, 2], [4, -1]], np.int32)
    decoded = run_both(lambda: _search(model, 3, 6, forced_ids=tf.constant(forced)))
    assert (decoded.ids[0, :, :2] == [3, 2]).all() and (decoded.ids[1, :, 0] == 4).all()
    for row in range(2):
        ids = decoded.ids[row].tolist()
        assert len({tuple(beam) for beam in ids}) == 3
        for place in range(3):
            length = int(decoded.lengths[row, place])
            prefix = sum(value >= 0 for value in forced[row])
            gains = [
                model.log_probabilities(ids[place][:n], row)[ids[place][n]]
                for n in range(prefix, length)
            ]
            expected = sum(gains) / PENALTIES["t5x"](length, 0.6)
            assert decoded.scores[row, place] == pytest.approx(expected, abs=1e-4)


def test_a_limit_gives_what_a_search_of_that_length_gives():
    model = HistoryModel(6, batch=4, seed=8)
    limited = run_both(lambda limit: _search(model, 3, 9, limit=limit), tf.constant(5))
    short = run_both(lambda: _search(model, 3, 5))
    np.testing.assert_array_equal(limited.ids[:, :, :5], short.ids)
    assert not limited.ids[:, :, 5:].any()
    np.testing.assert_allclose(limited.scores, short.scores, rtol=1e-6)


def test_an_unknown_penalty_is_refused():
    with pytest.raises(ValueError, match="plain"):
        beams.length_penalty("google", 0.6)
