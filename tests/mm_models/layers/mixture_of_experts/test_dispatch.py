"""Both ways to move tokens are one function, with one gradient."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from mm_models.layers.mixture_of_experts import dispatch_einsum, dispatch_indexed, routing
from mm_models.layers.mixture_of_experts.options import ROUTERS, ExpertOptions

DIM = 3


def through(implementation, tokens, logits, real, capacity, options):
    """Dispatch, something that differs by expert and is not linear, combine; with gradients."""
    scale = tf.reshape(tf.range(1.0, options.num_experts + 1.0), [-1, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch([tokens, logits])
        assignment = routing.assign(tf.nn.softmax(logits), real, capacity, options)
        taken = implementation.dispatch(tokens, assignment)
        combined = implementation.combine(tf.sin(taken * scale), assignment, tokens.shape[1])
        loss = tf.reduce_sum(combined * tf.cos(tf.range(float(DIM)))) + tf.reduce_sum(taken**2)
    return [taken, combined, *tape.gradient(loss, [tokens, logits])]


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(
    seed=st.integers(0, 2**20),
    num_groups=st.integers(1, 3),
    num_tokens=st.integers(1, 9),
    num_experts=st.integers(1, 5),
    share=st.floats(0.1, 1.0),
    router=st.sampled_from(ROUTERS),
    padded=st.booleans(),
)
def test_indexed_and_einsum_are_the_same_function(
    seed, num_groups, num_tokens, num_experts, share, router, padded
):
    random = np.random.default_rng(seed)
    tokens = tf.constant(random.normal(size=(num_groups, num_tokens, DIM)), tf.float32)
    # Rounded, so that ties occur.
    logits = np.round(random.normal(size=(num_groups, num_tokens, num_experts)), 1)
    real = tf.constant(random.random((num_groups, num_tokens)) > 0.5) if padded else None
    options = ExpertOptions(num_experts=num_experts, router=router, top_k=1 + seed % num_experts)
    capacity = max(1, round(share * num_tokens))
    rest = (tokens, tf.constant(logits, tf.float32), real, capacity, options)
    indexed = through(dispatch_indexed, *rest)
    einsum = through(dispatch_einsum, *rest)
    for one, other in zip(indexed, einsum, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_indexed_gradients_equal_finite_differences():
    random = np.random.default_rng(0)
    tokens = tf.constant(random.normal(size=(2, 6, DIM)), tf.float32)
    logits = tf.constant(random.normal(size=(2, 6, 4)), tf.float32)
    options = ExpertOptions(num_experts=4)

    def total(tokens, logits):
        assignment = routing.assign(tf.nn.softmax(logits), None, 2, options)
        taken = dispatch_indexed.dispatch(tokens, assignment)
        return tf.reduce_sum(dispatch_indexed.combine(taken**2, assignment, 6))

    theory, numeric = tf.test.compute_gradient(total, [tokens, logits], delta=1e-2)
    for one, other in zip(theory, numeric, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("implementation", [dispatch_indexed, dispatch_einsum])
def test_compiled_outputs_and_gradients_equal_eager_ones(implementation, router):
    random = np.random.default_rng(5)
    tokens = tf.constant(random.normal(size=(2, 33, DIM)), tf.float32)
    logits = tf.constant(np.round(random.normal(size=(2, 33, 4)), 1), tf.float32)
    real = tf.constant(random.random((2, 33)) > 0.2)
    options = ExpertOptions(num_experts=4, router=router, top_k=2)

    def run(tokens, logits):
        return through(implementation, tokens, logits, real, 11, options)

    compiled = tf.function(run, jit_compile=True, autograph=False)(tokens, logits)
    for one, other in zip(compiled, run(tokens, logits), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
