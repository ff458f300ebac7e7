"""Roles of tokens by hand: of attentions of their own, of pairs, and where they look."""

import numpy as np
import pytest

from mm_models.layers.roles.role_outputs import RoleTrace
from mm_models.layers.transformer.block_inputs import AttentionTrace
from mm_models.r3 import relations
from mm_models.r3.relations import Grid


def own_trace():
    """Two heads, two tokens and a padded one, three keys; the first row of the batch is noise."""
    ids = np.array([[4, 2, 0], [2, 2, 0]], np.int32)
    scores = np.array([[0.9, 0.5, 0.0], [0.8, 0.5, 0.0]], np.float32)
    weights = np.array(
        [
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]],
        ],
        np.float32,
    )
    noise = np.zeros_like(ids), np.zeros_like(scores), np.ones_like(weights) / 3
    return RoleTrace(*(np.stack(both) for both in zip(noise, (ids, scores, weights), strict=True)))


def test_roles_of_an_attention_of_their_own():
    found = relations.relations_of(own_trace(), row=1, num_tokens=2, num_keys=3)
    np.testing.assert_array_equal(found.head_codes, [[4, 2], [2, 2]])
    # Each head of the first token has another code: the one that fits best counts.
    np.testing.assert_array_equal(found.codes, [4, 2])
    np.testing.assert_allclose(found.weights, [[0.75, 0.25, 0.0], [0.0, 0.75, 0.25]])
    assert set(found.code_weights) == {2, 4}
    np.testing.assert_allclose(found.code_weights[4], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(found.code_weights[2], [0.5 / 3, 2 / 3, 0.5 / 3])
    maps = found.maps(Grid(3, 1, 1))
    assert maps.shape == (2, 3, 1, 1) and maps[1, 1, 0, 0] == pytest.approx(0.75)
    assert list(found.code_maps(Grid(1, 1, 3))) == [2, 4]


def test_roles_of_pairs_are_those_of_most_pairs():
    # [heads, queries, keys] = [1, 2, 3]; the first token sees two keys, the second all.
    ids = np.array([[[5, 5, 1], [1, 3, 3]]])
    scores = np.array([[[0.1, 0.3, 0.9], [0.9, 0.2, 0.2]]])
    shares = np.array([[[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]])
    found = relations.relations_of(RoleTrace(ids[None], scores[None], shares[None]), 0, 2, 3)
    np.testing.assert_array_equal(found.codes, [5, 3])
    np.testing.assert_allclose(found.weights, [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    np.testing.assert_allclose(found.code_weights[3], [0.0, 0.5, 0.5])
    np.testing.assert_allclose(found.code_weights[1], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(found.code_weights[5], [0.5, 0.5, 0.0])


def test_of_a_text_only_attentions_with_codes_count():
    one = AttentionTrace(np.zeros([2, 2, 3, 3]), own_trace())
    plain = AttentionTrace(np.zeros([2, 2, 3, 3]), None)
    traces = {
        "encoder/block_0/attention": one,
        "decoder/block_0/attention": one,
        "decoder/block_0/cross_attention": one,
        "decoder/block_1/attention": one,
        "decoder/block_1/cross_attention": plain,
    }
    found = relations.text_relations(traces, 1, 2, 3)
    names = [f"decoder/block_{place}" for place in ("0/attention", "0/cross_attention")]
    assert list(found) == [*names, "decoder/block_1/attention"]
    # The text's keys are its tokens, the video's its regions.
    assert found[names[0]].weights.shape == (2, 2) and found[names[1]].weights.shape == (2, 3)
    assert relations.shown_attention(found) == names[1]
    assert relations.shown_attention({names[0]: 0, "decoder/block_1/attention": 0}) != names[0]
    assert relations.is_cross(names[1]) and not relations.is_cross(names[0])
