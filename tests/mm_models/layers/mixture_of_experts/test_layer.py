"""The layer: against a float64 NumPy form of its own, its options, precision and the battery."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.mixture_of_experts.layer import MixtureOfExperts
from mm_models.layers.mixture_of_experts.options import ExpertOptions
from tests import batteries

DIM, HIDDEN = 8, 12


def tokens(batch=3, length=6, seed=1):
    return tf.random.stateless_normal([batch, length, DIM], (seed, 2))


def make(activation="gelu_tanh", use_bias=False, dropout_rate=0.0, dtype="float32", **options):
    options = ExpertOptions(**{"num_experts": 3, **options})
    layer = MixtureOfExperts(
        options,
        HIDDEN,
        activation=activation,
        use_bias=use_bias,
        dropout_rate=dropout_rate,
        dtype=dtype,
        name="experts",
    )
    layer.build((None, None, DIM))
    sharpen(layer)
    return layer


def sharpen(layer):
    """Gives the router opinions; it starts almost even."""
    kernel = layer.router.kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, (5, 5)))


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def numpy_layer(layer, groups, capacity):
    """Experts choose, one token, expert and group at a time."""
    w = {weight.path: weight.numpy().astype(np.float64) for weight in layer.weights}
    results = []
    for x in groups:
        logits = x @ w["experts/router/kernel"]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        y = np.zeros_like(x)
        for expert in range(p.shape[1]):
            for token in np.argsort(-p[:, expert], kind="stable")[:capacity]:
                hidden = gelu_tanh(x[token] @ w["experts/wi/kernel"][expert])
                y[token] += p[token, expert] * (hidden @ w["experts/wo/kernel"][expert])
        results.append(y)
    return np.stack(results)


@pytest.mark.parametrize("dispatch", ["indexed", "einsum"])
def test_layer_equals_the_float64_form(dispatch):
    layer = make(group_size=9, dispatch=dispatch)
    batteries.shake(layer)
    x = tokens()
    wide = x.numpy().astype(np.float64)
    trained = layer(x, training=True).tokens
    expected = numpy_layer(layer, wide.reshape(2, 9, DIM), 3).reshape(wide.shape)
    np.testing.assert_allclose(trained, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(x).tokens, numpy_layer(layer, wide, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"use_bias": True, "dropout_rate": 0.2},
        {"router": "tokens_choose", "top_k": 2, "activation": "relu", "dropout_rate": 0.2},
        {"dispatch": "einsum", "capacity_factor": 2.0, "dropout_rate": 0.2},
    ],
    ids=["indexed", "tokens_choose", "einsum"],
)
def test_battery(options):
    # Rows are compared for themselves in `test_stack`: sums over a batch are no rows.
    batteries.check_layer(
        lambda dtype: make(dtype=dtype, **options),
        {"inputs": tokens()},
        first="inputs",
        draws=True,
        mixed_tolerance=0.15,
        rows_are_independent=False,
    )


def test_experts_start_as_their_dense_likes_would_and_apart():
    layer = MixtureOfExperts(ExpertOptions(num_experts=4), 256, use_bias=False)
    layer.build((None, None, 64))
    for dense, (fan_in, fan_out) in ((layer.wi, (64, 256)), (layer.wo, (256, 64))):
        limit = math.sqrt(6.0 / (fan_in + fan_out))
        kernel = dense.kernel.numpy()
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        np.testing.assert_allclose(kernel.std(axis=(1, 2)), limit / math.sqrt(3.0), rtol=0.03)
        correlation = np.corrcoef(kernel.reshape(4, -1)) - np.eye(4)
        assert np.abs(correlation).max() < 0.05
    assert layer.router.kernel.numpy().std() == pytest.approx(0.02, rel=0.2)


def test_the_router_is_float32_under_mixed_precision():
    layer = make(dtype="mixed_bfloat16")
    outputs = layer(tokens())
    assert outputs.tokens.dtype == tf.bfloat16
    assert layer.router(tf.cast(tokens(), tf.bfloat16)).dtype == tf.float32
    assert all(value.dtype == tf.float32 for value in outputs.routing)
    # Logits that differ by less than bfloat16 resolves still decide.
    x = tf.cast(tokens(), tf.bfloat16)
    expected = tf.einsum("btd,de->bte", tf.cast(x, tf.float32), layer.router.kernel)
    np.testing.assert_allclose(layer.router(x), expected, rtol=1e-6, atol=1e-6)


def test_sums_equal_those_of_the_logits():
    layer = make()
    x = tokens()
    sums = layer(x).routing
    logits = layer.router(x).numpy().astype(np.float64)
    z = np.log(np.exp(logits).sum(axis=-1))
    assert float(sums.z_loss) == pytest.approx((z**2).sum(), rel=1e-5)
    assert float(sums.num_tokens) == 18.0
    assert float(sums.num_dispatched) == 18.0
    assert float(tf.reduce_sum(sums.probability)) == pytest.approx(18.0)
    assert sums.load.numpy().tolist() == [6.0, 6.0, 6.0]
    with tf.GradientTape() as tape:
        z_loss = layer(x).routing.z_loss
    assert np.any(tape.gradient(z_loss, layer.router.kernel.value).numpy() != 0.0)


@pytest.mark.parametrize(
    "changed",
    [
        {"num_experts": 2},
        {"router": "tokens_choose"},
        {"capacity_factor": 2.0},
        {"capacity_rounding": "ceil_multiple_of_4"},
        {"min_capacity": 4},
        {"group_size": 3},
        {"eval_group": "batch"},
        {"ignore_padding": True},
        {"activation": "relu"},
        {"use_bias": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_option_matters(changed):
    mask = tf.constant([[1, 1, 0, 1, 0, 1], [1] * 6, [1, 1, 0, 0, 0, 0]])
    outputs = []
    for options in ({}, changed):
        layer = make(**options)
        for dense in (layer.wi, layer.wo):
            for index, weight in enumerate(dense.weights):
                weight.assign(tf.random.stateless_normal(weight.shape, (index, 7)))
        outputs.append(layer(tokens(), padding_mask=mask).tokens.numpy())
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


def test_top_k_and_dropout_matter():
    one, two = (make(router="tokens_choose", top_k=k)(tokens()).routing for k in (1, 2))
    assert float(two.num_dispatched) > float(one.num_dispatched)
    layer = make(dropout_rate=0.5)
    drawn = layer(tokens(), training=True, seed=batteries.seed()).tokens
    assert np.abs(drawn - make()(tokens(), training=True).tokens).max() > 1e-3


def test_dispatches_are_one_layer():
    indexed, einsum = make(), make(dispatch="einsum")
    batteries.copy_weights(indexed, einsum)
    batteries.assert_close(indexed(tokens()), einsum(tokens()), 1e-5)


def test_padding_is_never_taken_and_changes_nothing():
    layer = make(ignore_padding=True, capacity_factor=3.0)
    mask = tf.constant([[1, 1, 0, 1, 0, 1], [1] * 6, [0, 0, 0, 0, 0, 0]])
    x = tokens()
    outputs = layer(x, padding_mask=mask, training=True)
    real = mask.numpy().astype(bool)
    assert np.all(outputs.tokens.numpy()[~real] == 0.0)
    assert np.all(np.any(outputs.tokens.numpy()[real] != 0.0, axis=-1))
    assert float(outputs.routing.num_tokens) == 10.0
    assert float(outputs.routing.num_dispatched) == 30.0
    other = tf.where(mask[:, :, tf.newaxis] == 1, x, 100.0 * tokens(seed=8))
    batteries.assert_close(layer(other, padding_mask=mask, training=True), outputs, 1e-5)


def test_without_capacity_the_layer_gives_zeros():
    layer = make(num_experts=16, min_capacity=0, group_size=4)
    outputs = layer(tokens(2, 4))
    assert not np.any(outputs.tokens)
    assert float(outputs.routing.left_behind) == 8.0


def test_a_batch_of_unknown_size_goes_by_example():
    layer = make()
    x = tokens()

    @tf.function(input_signature=[tf.TensorSpec([None, 6, DIM])])
    def evaluate(values):
        return layer(values)

    batteries.assert_close(evaluate(x), layer(x), 1e-6)
    with pytest.raises(UserError, match="experts.eval_group"):
        layer(tf.keras.Input([6, DIM]), training=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"router": "nobody"},
        {"num_experts": 0},
        {"top_k": 4},
        {"capacity_factor": 0.0},
        {"capacity_rounding": "up"},
        {"min_capacity": -1},
        {"group_size": 0},
        {"eval_group": "all"},
        {"dispatch": "sorted"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UserError, match=f"experts.{next(iter(wrong))} is"):
        ExpertOptions(**{"num_experts": 3, **wrong})
