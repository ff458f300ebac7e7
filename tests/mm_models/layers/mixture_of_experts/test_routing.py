"""Who takes whom: by hand, against NumPy forms of their own, eager and compiled."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.layers.mixture_of_experts import (
    dispatch_einsum,
    dispatch_indexed,
    routing,
    statistics,
)
from mm_models.layers.mixture_of_experts.options import ExpertOptions

SIX_TOKENS = (
    (0.90, 0.05, 0.05),
    (0.45, 0.45, 0.10),
    (0.34, 0.33, 0.33),
    (0.02, 0.96, 0.02),
    (0.05, 0.05, 0.90),
    (0.10, 0.45, 0.45),
)


def summarise(probabilities, assignment, real=None, **options):
    logits = tf.math.log(probabilities)
    options = ExpertOptions(num_experts=probabilities.shape[-1], **options)
    return statistics.summarise(logits, probabilities, assignment, real, options)


@pytest.mark.parametrize("implementation", [dispatch_indexed, dispatch_einsum])
def test_experts_choose_by_hand(implementation):
    probabilities = tf.constant([SIX_TOKENS])
    assignment = routing.experts_choose(probabilities, None, 2)
    # Token 1 and token 5 tie for the second place at expert 1; the lower index has it.
    assert assignment.tokens.numpy().tolist() == [[[0, 1], [3, 1], [4, 5]]]
    tokens = tf.reshape(tf.range(1.0, 7.0), [1, 6, 1])
    outputs = implementation.dispatch(tokens, assignment) * [[[1.0]], [[2.0]], [[3.0]]]
    combined = implementation.combine(outputs, assignment, 6)
    np.testing.assert_allclose(
        combined[0, :, 0], [0.9, 2.7, 0.0, 7.68, 13.5, 8.1], rtol=1e-6, atol=1e-7
    )
    sums = summarise(probabilities, assignment)
    assert float(sums.left_behind / sums.num_tokens) == pytest.approx(1 / 6)
    assert float(sums.gate_sum / sums.num_dispatched) == pytest.approx(0.685)
    assert sums.load.numpy().tolist() == [2, 2, 2]
    np.testing.assert_allclose(sums.probability, np.sum(SIX_TOKENS, axis=0), rtol=1e-6)
    assert float(sums.balance_loss) == 0.0
    assert float(sums.z_loss) == pytest.approx(0.0, abs=1e-9)  # the logits are log-probabilities


def test_tokens_choose_by_hand():
    # The best of expert 0 is token 2, then 0, then 1: capacity 2 leaves token 1 behind there.
    rows = [(0.6, 0.3, 0.1), (0.5, 0.2, 0.3), (0.8, 0.05, 0.15), (0.1, 0.2, 0.7)]
    probabilities = tf.constant([rows])
    one = routing.tokens_choose(probabilities, None, 2, top_k=1)
    assert one.tokens[0, 0].numpy().tolist() == [2, 0]
    assert one.tokens[0, 2, 0].numpy() == 3
    np.testing.assert_array_equal(one.filled[0], [[1, 1], [0, 0], [1, 0]])
    np.testing.assert_allclose(one.gates[0], [[0.8, 0.6], [0, 0], [0.7, 0]])
    sums = summarise(probabilities, one, router="tokens_choose")
    assert float(sums.left_behind) == 1.0
    assert sums.load.numpy().tolist() == [2, 0, 1]
    # Requests 3/4, 0, 1/4; mean probabilities 0.5, 0.1875, 0.3125; times 3 experts, times 4 tokens.
    assert float(sums.balance_loss) == pytest.approx(4 * 3 * (0.75 * 0.5 + 0.25 * 0.3125))
    # Second choices: 0 → 1, 1 → 2, 2 → 2, 3 → 1, served after all first ones, token 2 before 1
    # because its largest probability is higher.
    two = routing.tokens_choose(probabilities, None, 2, top_k=2)
    assert two.tokens[0].numpy().tolist() == [[2, 0], [3, 0], [3, 2]]
    assert np.all(two.filled.numpy() == 1.0)


def test_balance_loss_is_one_where_uniform_and_the_number_of_experts_at_worst():
    even = tf.constant([np.eye(4) * 0.4 + 0.15], tf.float32)
    assert float(statistics.balance_losses(even, tf.ones([1, 4]), 1)[0]) == pytest.approx(1.0)
    all_to_one = tf.constant([[[1.0, 0.0, 0.0, 0.0]] * 4])
    assert float(statistics.balance_losses(all_to_one, tf.ones([1, 4]), 1)[0]) == 4.0
    assert float(statistics.balance_losses(all_to_one, tf.zeros([1, 4]), 1)[0]) == 0.0


def numpy_experts_choose(probabilities, real, capacity):
    taken = []
    for p, is_real in zip(probabilities, real, strict=True):
        order = np.argsort(np.where(is_real, -p.T, 1.0), axis=1, kind="stable")[:, :capacity]
        taken.append({(int(t), e) for e in range(p.shape[1]) for t in order[e] if is_real[t]})
    return taken


def numpy_tokens_choose(probabilities, real, capacity, top_k):
    taken = []
    for p, is_real in zip(probabilities, real, strict=True):
        free = [capacity] * p.shape[1]
        pairs = set()
        asked = np.argsort(-p, axis=1, kind="stable")[:, :top_k]
        for rank in range(top_k):
            for token in np.argsort(-p.max(axis=1), kind="stable"):
                expert = int(asked[token, rank])
                if is_real[token] and free[expert]:
                    free[expert] -= 1
                    pairs.add((int(token), expert))
        taken.append(pairs)
    return taken


def pairs_of(assignment):
    tokens, filled = assignment.tokens.numpy(), assignment.filled.numpy()
    found = []
    for group in range(tokens.shape[0]):
        slots = np.argwhere(filled[group] == 1.0)
        pairs = [(int(tokens[group, e, c]), int(e)) for e, c in slots]
        assert len(set(pairs)) == len(pairs)
        found.append(set(pairs))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("router", ["experts_choose", "tokens_choose"])
def test_routers_equal_their_numpy_forms_with_many_ties_eager_and_compiled(seed, router):
    random = np.random.default_rng(seed)
    num_tokens, num_experts = [(40, 4), (129, 8), (7, 5)][seed % 3]
    # Few distinct values, so that the order among equals decides most slots.
    levels = random.integers(1, 4, (3, num_tokens, num_experts)).astype(np.float32)
    probabilities = (levels / 16.0).astype(np.float32)
    real = random.random((3, num_tokens)) > 0.4
    real[0] = True
    real[1, 2:] = False
    capacity = num_tokens // 3
    if router == "experts_choose":
        expected = numpy_experts_choose(probabilities, real, capacity)
    else:
        expected = numpy_tokens_choose(probabilities, real, capacity, 2)
    options = ExpertOptions(num_experts=num_experts, router=router, top_k=2)

    def assign(probabilities, real):
        return routing.assign(probabilities, real, capacity, options)

    arguments = tf.constant(probabilities), tf.constant(real)
    eager = assign(*arguments)
    compiled = tf.function(assign, jit_compile=True, autograph=False)(*arguments)
    assert pairs_of(eager) == pairs_of(compiled) == expected
    for group in range(3):
        for expert in range(num_experts):
            for slot in range(capacity):
                token = eager.tokens[group, expert, slot]
                gate = probabilities[group, token, expert] * eager.filled[group, expert, slot]
                assert eager.gates[group, expert, slot] == gate
    np.testing.assert_array_equal(eager.gates, compiled.gates)


def test_statistics_leave_padding_out():
    probabilities = tf.constant([SIX_TOKENS])
    real = tf.constant([[True, True, True, False, True, False]])
    assignment = routing.experts_choose(probabilities, real, 2)
    sums = summarise(probabilities, assignment, real)
    assert float(sums.num_tokens) == 4.0
    assert pairs_of(assignment) == [{(0, 0), (1, 0), (1, 1), (2, 1), (4, 2), (2, 2)}]
    assert float(sums.left_behind) == 0.0
    np.testing.assert_allclose(sums.probability, [1.74, 0.88, 1.38], rtol=1e-6)
    logits = tf.ones([1, 6, 3])
    z_loss = statistics.summarise(
        logits, probabilities, assignment, real, ExpertOptions(num_experts=3)
    ).z_loss
    assert float(z_loss) == pytest.approx(4 * (1.0 + np.log(3.0)) ** 2)
