"""Experts from a dense run's feed-forward halves: what is copied, and what the copies compute."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.stack import TransformerStack
from tests import batteries
from trainers import initialization
from trainers.config.schema import ExperimentConfig, InitializeConfig
from trainers.initialization import TrainedWeights
from trainers.loop.identity import check_identity, identity_of

DIM, MLP_DIM, NUM_EXPERTS = 8, 12, 3
FROM = InitializeConfig(model_dir="runs/dense", upcycle_experts=True)


class Encoder(keras.Model):
    def __init__(self, expert_layers=(), mlp_dim=MLP_DIM, **experts):
        super().__init__()
        options = BlockOptions(DIM, mlp_dim, 2, 4, activation="gelu_tanh")
        experts = {"num_experts": NUM_EXPERTS, **experts} if expert_layers else None
        self.stack = TransformerStack(
            2, options, experts=experts, expert_layers=expert_layers, name="encoder"
        )
        self.stack.build()
        self.built = True

    def call(self, tokens):
        return self.stack(tokens)


@pytest.fixture(scope="module")
def dense():
    model = Encoder()
    batteries.shake(model)
    return model


@pytest.fixture(scope="module")
def source(dense):
    return TrainedWeights("runs/dense/ckpt-7", 7, {w.path: w.numpy() for w in dense.weights})


def upcycled(source, config=FROM, seed=0, **options):
    model = Encoder((1,), **options)
    return model, initialization.initialize(model, source, config, seed)


def tokens():
    return tf.random.stateless_normal([2, 6, DIM], (1, 2))


def test_every_expert_is_a_copy_and_the_router_stays_random(source):
    model, done = upcycled(source)
    experts = model.stack.block_1.experts
    for part in ("wi", "wo"):
        for name in ("kernel", "bias"):
            copied = getattr(getattr(experts, part), name).numpy()
            for expert in range(NUM_EXPERTS):
                expected = source.values[f"encoder/block_1/mlp/{part}/{name}"]
                np.testing.assert_array_equal(copied[expert], expected)
    match = done.match
    assert match.new == ["encoder/block_1/experts/router/kernel"]
    assert experts.router.kernel.numpy().std() > 0
    assert not match.left_over and len(match.upcycled) == 4
    assert len(match.loaded) == len(model.weights) - 5
    line = "copied into every expert 4: encoder/block_1/mlp → encoder/block_1/experts"
    assert line in str(done)
    assert (
        '"encoder/block_1/experts/wo/bias": "encoder/block_1/mlp/wo/bias"'
        in initialization.to_json({"a": done})
    )


@pytest.mark.parametrize(
    "options",
    [
        {"router": "tokens_choose"},
        {"router": "tokens_choose", "top_k": 2, "capacity_factor": 3.0},
        {"capacity_factor": 1.0},
    ],
    ids=["top_1", "top_2", "experts_choose"],
)
def test_outputs_are_the_dense_ones_times_the_gates(dense, source, options):
    model, _ = upcycled(source, **options)
    experts = model.stack.block_1.experts
    experts.router.kernel.assign(tf.random.stateless_normal(experts.router.kernel.shape, (3, 3)))
    x = tokens()
    got = experts(x)
    half = dense.stack.block_1.mlp(x).numpy()
    # How much of the dense output each token got, read off the layer; the sum over tokens must be
    # that of the gates, and the rest of the output must follow.
    share = np.sum(got.tokens * half, axis=-1) / np.sum(half * half, axis=-1)
    np.testing.assert_allclose(got.tokens, share[..., np.newaxis] * half, rtol=1e-4, atol=1e-5)
    assert share.sum() == pytest.approx(float(got.routing.gate_sum), rel=1e-4)
    assert np.sum(np.abs(share) < 1e-6) == float(got.routing.left_behind)
    if options.get("top_k") == 2:
        probabilities = tf.nn.softmax(experts.router(x))
        best_two = tf.reduce_sum(tf.math.top_k(probabilities, 2).values, axis=-1)
        np.testing.assert_allclose(share, best_two, rtol=1e-4)


def test_where_all_experts_take_every_token_the_model_is_the_dense_one(dense, source):
    model, _ = upcycled(source, capacity_factor=float(NUM_EXPERTS))
    np.testing.assert_allclose(model(tokens()), dense(tokens()), rtol=1e-4, atol=1e-5)


def test_noise_parts_the_copies_and_is_fixed_by_the_seed(source):
    config = InitializeConfig("runs/dense", upcycle_experts=True, upcycle_noise=0.1)
    kernels = [
        upcycled(source, config, seed)[0].stack.block_1.experts.wi.kernel.numpy()
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0
    original = source.values["encoder/block_1/mlp/wi/kernel"]
    noise = kernels[0] - original
    assert noise.std() / original.std() == pytest.approx(0.1, rel=0.15)
    assert np.abs(noise[0] - noise[1]).max() > 0


def test_experts_of_an_expert_run_are_taken_as_they_are(source):
    first, _ = upcycled(source)
    batteries.shake(first)
    there = TrainedWeights("runs/sparse/ckpt-9", 9, {w.path: w.numpy() for w in first.weights})
    config = InitializeConfig("runs/sparse")
    again = Encoder((1,))
    found = initialization.initialize(again, there, config).match
    assert len(found.loaded) == len(again.weights) and not found.upcycled
    with pytest.raises(UserError, match="upcycle_experts is true, but no feed-forward half"):
        initialization.initialize(again, there, FROM)


def test_a_run_that_resumes_may_not_change_how_its_experts_started():
    @dataclasses.dataclass
    class Task:
        name: str = "toy"

    def identity(**fields):
        start = InitializeConfig("runs/dense", **fields)
        config = ExperimentConfig(task=Task(), initialize={"a": start})
        return identity_of(config, dict)

    copied, noisy = {"upcycle_experts": True}, {"upcycle_experts": True, "upcycle_noise": 0.1}
    for ours, saved in ((copied, {}), (noisy, copied), ({"checkpoint": "best"}, {})):
        with pytest.raises(UserError, match=r"another experiment: initialize\.a\."):
            check_identity(identity(**ours), identity(**saved), Task, "ckpt-1")
    patterns = {"may_be_new": [], "may_be_left_over": ["^head/"]}
    assert check_identity(identity(**patterns), identity(), Task, "ckpt-1") == []


def test_nothing_is_copied_unasked_or_in_another_shape(source):
    with pytest.raises(UserError, match="experts/router/kernel"):
        upcycled(source, InitializeConfig("runs/dense"))
    with pytest.raises(UserError, match="may_be_new"):
        upcycled(source, mlp_dim=16)
