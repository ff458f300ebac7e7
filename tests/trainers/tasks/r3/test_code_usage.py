"""The use of codes by hand: counts, information, shuffles, words that name codes."""

import numpy as np
import pytest

from mm_models.layers.roles.role_outputs import RoleTrace
from trainers.tasks.r3.evaluators import usage_tables
from trainers.tasks.r3.evaluators.code_usage import (
    CodeCounter,
    bits,
    preferred_words,
    shuffled,
    token_labels,
)

GROUPS = {"side": frozenset({"left", "right"}), "thing": frozenset({"cat"})}
WORDS = ["left", "cat", "right", "cat", "left", ""]
IDS = np.array([7, 9, 8, 9, 7, 1])


def trace(ids, weights=None):
    """Of int[tokens, heads] codes, for a batch of one."""
    ids = np.asarray(ids).T[None]
    if weights is None:
        weights = np.ones([*ids.shape, 2]) / 2
    return RoleTrace(ids, np.ones(ids.shape), np.asarray(weights, float))


def test_labels_of_tokens():
    labels = token_labels(IDS, WORDS, GROUPS)
    np.testing.assert_array_equal(labels["token"], [1, 3, 2, 3, 1, 0])
    np.testing.assert_array_equal(labels["word_groups"], [0, 1, 0, 1, 0, 2])
    np.testing.assert_array_equal(labels["word_groups_side"], [0, -1, 1, -1, 0, -1])
    assert set(token_labels(IDS, WORDS, {})) == {"token"}


def test_information_by_hand():
    # Code 1 stands for the sides and 0 for the rest, by both heads: one bit of the group's entropy.
    codes = np.array([1, 0, 1, 0, 1, 0])[:, None].repeat(2, axis=1)
    labels = token_labels(IDS, WORDS, GROUPS)
    assert bits(codes, labels["word_groups"]) == pytest.approx(1.0)
    assert bits(codes, labels["word_groups_side"]) == 0.0
    assert bits(codes, np.full(6, -1)) == 0.0
    # Heads that never agree with the label's halves tell nothing.
    assert bits(np.array([[0], [1], [0], [1]]), np.array([0, 0, 1, 1])) == pytest.approx(0.0)


def test_shuffles_keep_what_is_counted():
    labels = np.array([0, -1, 1, -1, 2, 3, 4, 5])
    mixed = shuffled(labels, np.random.default_rng(1))
    np.testing.assert_array_equal(mixed < 0, labels < 0)
    np.testing.assert_array_equal(np.sort(mixed), np.sort(labels))
    assert np.any(mixed != labels)


def test_a_counter_adds_up_batches_of_real_tokens():
    counter = CodeCounter(4, of_text=True, with_maps=True)
    weights = np.zeros([1, 2, 3, 2])
    weights[..., 0], weights[0, :, 1] = 1.0, [0.25, 0.75]
    counter.add(trace([[0, 2], [2, 2], [3, 3]], weights), np.array([[True, True, False]]))
    counter.add(trace([[0, 0]]), np.array([[True]]))
    labels = {"token": np.array([0, 1, 0])}
    usage = counter.usage(labels, ["a", "b", "a"], shuffles=2, seed=3)
    np.testing.assert_array_equal(usage.counts, [3, 0, 3, 0])
    measures = usage.measures()
    assert measures["perplexity"] == pytest.approx(2.0)
    assert measures["dead_codes"] == measures["rare_codes"] == 0.5
    # Of six pairs of head and token three are (0, 0), one is (2, 0), and two are (2, 1).
    expected = 0.5 * np.log2(1.5) + np.log2(0.5) / 6 + np.log2(2) / 3
    assert measures["information"] == pytest.approx(expected)
    # One head of code 2 looks at the first key, the two of the next token at it by a quarter.
    np.testing.assert_allclose(usage.looked_at[2], [0.5, 0.5])
    again = counter.usage(labels, ["a", "b", "a"], shuffles=2, seed=3)
    assert again.shuffled == usage.shuffled
    table = usage_tables.usage_json({"decoder/block_0/attention": usage}, 3)
    assert usage_tables.code_names(table) == {"decoder/block_0/attention": usage.names}


def test_of_pairs_each_pair_that_is_seen_counts():
    ids = np.array([[[[1, 2], [1, 1]]]])
    shares = np.array([[[[1.0, 0.0], [0.5, 0.5]]]])
    counter = CodeCounter(3, of_text=False, with_maps=False)
    counter.add(RoleTrace(ids, np.ones(ids.shape), shares), np.array([[True, True]]))
    usage = counter.usage({"token": np.array([0, 1])}, ["a", "b"], shuffles=1, seed=0)
    np.testing.assert_array_equal(usage.counts, [0, 3, 0])
    assert "information" not in usage.measures() and usage.looked_at is None


def test_shuffled_information_is_far_below_what_is_there():
    random = np.random.default_rng(5)
    labels = random.integers(0, 4, 2000)
    codes = np.stack([labels, random.integers(0, 4, 2000)], axis=1)
    counter = CodeCounter(4, of_text=True, with_maps=False)
    counter.add(trace(codes), np.ones([1, 2000], bool))
    usage = counter.usage({"token": labels}, [""] * 2000, shuffles=5, seed=0)
    assert usage.information["token"] > 0.4
    assert 0.0 < usage.shuffled["token"] < 0.01


def test_codes_are_named_by_the_words_they_prefer():
    words = ["left"] * 4 + ["cat"] * 4 + ["dog"] * 2 + [""] * 5
    codes = np.array([1] * 4 + [0] * 3 + [1] + [2] * 2 + [3] * 5)[:, None]
    found = preferred_words(codes, words, 5)
    assert {code: [word for word, _ in pairs] for code, pairs in found.items()} == {
        0: ["cat"],
        1: ["left"],
    }
    # Of ten words four are left, and so are four of the five with code 1.
    assert found[1][0][1] == pytest.approx(np.log2((4 / 10) / (4 / 10 * 5 / 10)))
    assert preferred_words(codes, words, 5, least=1)[2][0][0] == "dog"
    assert preferred_words(codes, [""] * 15, 5) == {}
