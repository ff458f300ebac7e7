"""Sampling: what is kept, what is drawn, and what a draw depends on."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding.sampling import draw, keep_top_k, keep_top_p, row_seeds, sample, sampler
from mm_models.layers import randomness
from tests.mm_models.decoding.toys import END, HistoryModel, run_both

SEED = tf.constant([5, 9])
P = np.array([0.5, 0.2, 0.15, 0.1, 0.05], np.float32)


def _frequencies(probabilities, rows=20_000, **options):
    def call(seed):
        logits = tf.repeat(tf.math.log(tf.constant(probabilities))[None], rows, axis=0)
        # Rows of one seed at many positions: cheaper to seed than as many rows.
        choose = sampler(seed[None], max_length=rows, **options)
        uniforms = tf.range(rows)
        return tf.map_fn(lambda position: choose(logits[:1], position)[0], uniforms)

    chosen = tf.function(call, jit_compile=True, autograph=False)(SEED).numpy()
    return np.bincount(chosen, minlength=len(probabilities)) / rows


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, P),
        ({"top_p": 0.5}, [1, 0, 0, 0, 0]),
        ({"top_p": 0.69}, [0.714286, 0.285714, 0, 0, 0]),
        ({"top_p": 0.86}, [0.526316, 0.210526, 0.157895, 0.105263, 0]),
        ({"temperature": 0.5}, [0.769231, 0.123077, 0.069231, 0.030769, 0.007692]),
        ({"temperature": 0.0}, [1, 0, 0, 0, 0]),
        ({"top_k": 2}, [0.714286, 0.285714, 0, 0, 0]),
        # top-p after temperature and top-k: 0.769 / 0.962 = 0.8, the second adds up to 0.928
        ({"temperature": 0.5, "top_k": 3, "top_p": 0.9}, [0.862069, 0.137931, 0, 0, 0]),
    ],
)
def test_draws_follow_the_distribution_that_the_options_leave(options, expected):
    # In another order, so that nothing rests on sorted logits.
    order = np.array([3, 0, 4, 1, 2])
    frequencies = _frequencies(P[order], **options)
    expected = np.asarray(expected)[order]
    np.testing.assert_allclose(frequencies, expected, atol=0.012)
    assert np.all(frequencies[expected == 0] == 0)


def test_top_p_keeps_what_a_sort_keeps():
    random = np.random.default_rng(0)
    logits = (3 * random.normal(size=(20, 500))).astype(np.float32)
    probabilities = np.asarray(tf.nn.softmax(logits))
    for top_p in (0.05, 0.5, 0.97):
        kept = run_both(lambda top_p=top_p: keep_top_p(tf.constant(probabilities), top_p)) > 0
        for row, row_kept in zip(probabilities.astype(np.float64), kept, strict=True):
            order = np.argsort(-row)
            count = 1 + np.sum(np.cumsum(row[order]) < top_p)
            np.testing.assert_array_equal(np.flatnonzero(row_kept), np.sort(order[:count]))


def test_top_p_treats_equal_probabilities_alike():
    kept = keep_top_p(tf.constant([[0.4, 0.2, 0.2, 0.2]]), 0.5)
    np.testing.assert_allclose(kept, [[0.4, 0.2, 0.2, 0.2]])
    np.testing.assert_array_equal(keep_top_p(tf.constant([[0.0, 1.0]]), 0.99), [[0.0, 1.0]])


def test_top_k_is_cut_at_the_vocabulary():
    logits = tf.constant([[1.0, 3.0, 2.0]])
    assert keep_top_k(logits, 3)[1] is None
    values, ids = keep_top_k(logits, 2)
    np.testing.assert_array_equal(values, [[3.0, 2.0]])
    np.testing.assert_array_equal(ids, [[1, 2]])


def test_an_impossible_id_is_never_drawn_whatever_the_rounding():
    weights = tf.constant([[0.0, 0.1, 0.0, 0.3, 0.0]] * 4)
    uniforms = tf.constant([0.0, 0.2499, 0.25001, 1.0 - 2.0**-24])
    np.testing.assert_array_equal(run_both(lambda: draw(weights, uniforms)), [1, 1, 3, 3])


def _call(model, seed, max_length=7, **options):
    return sample(
        model.step,
        model.start(),
        model.start_ids(),
        max_length=max_length,
        end_id=END,
        seed=seed,
        **options,
    )


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 4, "top_p": 0.9}])
def test_a_row_is_a_function_of_its_own_seed(options):
    batch = 4
    model = HistoryModel(6, batch=batch, seed=4, scale=0.5)
    whole = run_both(lambda: _call(model, SEED, **options))
    again = run_both(lambda: _call(model, row_seeds(SEED, batch), 11, **options))
    np.testing.assert_array_equal(whole.ids, again.ids[:, :7])
    other = _call(model, SEED + 1, **options)
    assert np.any(whole.ids != other.ids.numpy())
    assert len({tuple(row) for row in whole.ids.tolist()}) == batch
    alone = HistoryModel(6, batch=batch, seed=4, scale=0.5)
    alone.bias, alone.batch = model.bias[2:3], 1
    row = _call(alone, randomness.fold_in(SEED, 2)[None], **options)
    np.testing.assert_array_equal(row.ids[0], whole.ids[2])


def test_scores_are_those_of_the_model_without_the_options():
    model = HistoryModel(6, batch=1, seed=4)
    decoded = _call(model, SEED, temperature=2.0, top_k=5)
    ids = decoded.ids[0, : int(decoded.lengths[0])].numpy().tolist()
    gains = [model.log_probabilities(ids[:place])[ids[place]] for place in range(len(ids))]
    assert float(decoded.scores[0]) == pytest.approx(sum(gains), abs=1e-4)


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="top_p"):
        sampler(tf.zeros([1, 2], tf.int32), max_length=3, **options)
