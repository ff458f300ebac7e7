"""Blocks and stacks against a float64 NumPy form of their own, and the layer battery."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.block import TransformerBlock
from mm_models.layers.transformer.block_inputs import BlockInputs
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.mlp import Mlp
from mm_models.layers.transformer.relative_bias import RelativeBias, relative_buckets
from mm_models.layers.transformer.stack import TransformerStack
from mm_models.vatt.config import named_config
from mm_models.vatt.towers import Tower
from tests import batteries

erf = np.vectorize(math.erf)


def gelu(x):
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def layer_norm(x, gamma, beta):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * gamma + beta


def rms_norm(x, scale):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * scale


def attention(x, w, heads, *, scaled, mask=None, bias=None):
    """Loops over examples and heads."""
    inner = w["q/kernel"].shape[1]
    width = inner // heads
    outputs = []
    for b in range(x.shape[0]):
        q, k, v = (x[b] @ w[f"{n}/kernel"] + w.get(f"{n}/bias", 0.0) for n in "qkv")
        rows = []
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            scores = q[:, part] @ k[:, part].T / (math.sqrt(width) if scaled else 1.0)
            scores = scores + (0.0 if bias is None else bias[h])
            if mask is not None:
                scores[:, mask[b] == 0] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            rows.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, part])
        outputs.append(np.concatenate(rows, axis=1) @ w["o/kernel"] + w.get("o/bias", 0.0))
    return np.stack(outputs)


def weights_of(layer, prefix=""):
    """Weights by the part of their path behind `prefix`, in float64."""
    named = {weight.path: weight.numpy().astype(np.float64) for weight in layer.weights}
    return {path.split(prefix, 1)[1]: value for path, value in named.items() if prefix in path}


def under(weights, prefix):
    return {
        path[len(prefix) :]: value for path, value in weights.items() if path.startswith(prefix)
    }


def mlp(x, w):
    return gelu(x @ w["wi/kernel"] + w.get("wi/bias", 0.0)) @ w["wo/kernel"] + w.get("wo/bias", 0.0)


def block(x, w, heads, mask):
    normed = layer_norm(x, w["attention_norm/gamma"], w["attention_norm/beta"])
    x = x + attention(normed, under(w, "attention/"), heads, scaled=True, mask=mask)
    return x + mlp(layer_norm(x, w["mlp_norm/gamma"], w["mlp_norm/beta"]), under(w, "mlp/"))


def t5_block(x, w, heads, mask, bias):
    normed = rms_norm(x, w["attention_norm/scale"])
    x = x + attention(normed, under(w, "attention/"), heads, scaled=False, mask=mask, bias=bias)
    return x + mlp(layer_norm(x, w["mlp_norm/gamma"], w["mlp_norm/beta"]), under(w, "mlp/"))


def tokens(batch=3, length=5, dim=12, seed=1):
    return tf.random.stateless_normal([batch, length, dim], (seed, 2))


OPTIONS = BlockOptions(dim=12, mlp_dim=20, num_heads=2, head_dim=8)
DROPPING = BlockOptions(
    dim=12, mlp_dim=20, num_heads=2, head_dim=8, dropout_rate=0.2, attention_dropout_rate=0.2
)


def test_stack_equals_the_float64_form():
    stack = TransformerStack(2, OPTIONS, name="stack")
    stack.build()
    batteries.shake(stack)
    mask = np.array([[1, 1, 1, 0, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    x = tokens()
    outputs = stack.forward(BlockInputs(x, tf.constant(mask)))
    got = outputs.tokens
    w = weights_of(stack, "stack/")
    expected = x.numpy().astype(np.float64)
    for index, layer in enumerate(outputs.layers):
        expected = block(expected, under(w, f"block_{index}/"), 2, mask)
        np.testing.assert_allclose(layer, expected, rtol=1e-4, atol=2e-5)
    assert len(outputs.layers) == 2
    expected = layer_norm(expected, w["final_norm/gamma"], w["final_norm/beta"])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)
    first = stack.forward(BlockInputs(x, tf.constant(mask), num_outputs=1)).tokens
    np.testing.assert_allclose(first, got[:, :1], rtol=1e-5, atol=1e-5)


def test_t5_tower_equals_the_float64_form():
    config = named_config("debug")
    tower = Tower("text", config, name="tower")
    tower.build()
    batteries.shake(tower)
    ids = np.array([[5, 9, 3, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8], [0] * 8])
    got = tower(tf.constant(ids, tf.int32))
    w = weights_of(tower, "tower/")
    words = w["text_tokens/words/embeddings"][ids]
    front = np.broadcast_to(w["text_tokens/aggregate/embedding"], (3, 1, 16))
    x = gelu(np.concatenate([front, words], axis=1) @ w["text_tokens/pre_projection/kernel"])
    mask = np.concatenate([np.ones((3, 1)), ids != 0], axis=1)
    positions = np.arange(9)
    buckets = relative_buckets(positions[None] - positions[:, None], 32, 64)
    bias = np.moveaxis(w["relative_bias/embeddings"][buckets], -1, 0)
    for index in range(2):
        x = t5_block(x, under(w, f"stack/block_{index}/"), 2, mask, bias)
    expected = rms_norm(x, w["stack/final_norm/scale"])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=5e-5)
    assert not any("bias" in path and "relative" not in path for path in w)


def test_relative_buckets():
    before = [11, 11, 11, 10, 10, 10, 10, 9, 9, 9, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1]
    after = [17, 18, 19, 20, 21, 22, 23, 24, 24, 24]
    after += [25, 25, 25, 26, 26, 26, 26, 27, 27, 27]
    got = relative_buckets(np.arange(-20, 21), 32, 64)
    assert got.tolist() == [*before, 0, *after]
    assert relative_buckets(np.array([-64, -1000, 64, 1000]), 32, 64).tolist() == [15, 15, 31, 31]


def test_relative_bias_is_the_table_read_by_key_minus_query():
    layer = RelativeBias(num_heads=3)
    bias = layer(tokens(length=4))
    assert bias.shape == (1, 3, 4, 4)
    table = layer.embeddings.numpy()
    np.testing.assert_allclose(bias[0, :, 1, 3], table[18], rtol=1e-6)
    np.testing.assert_allclose(bias[0, :, 3, 1], table[2], rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: TransformerBlock(DROPPING, **kw),
        lambda **kw: TransformerStack(1, DROPPING, final_norm="rms", **kw),
        lambda **kw: Mlp(20, activation="gelu_tanh", dropout_rate=0.3, **kw),
        lambda **kw: Mlp(20, activation="relu", use_bias=False, **kw),
    ],
    ids=["block", "stack", "mlp", "mlp_relu"],
)
def test_battery(make):
    batteries.check_layer(make, {"inputs": tokens()}, first="inputs", draws=True)


def test_attention_battery_with_memory_mask_and_bias():
    inputs = {
        "queries": tokens(),
        "memory": tokens(length=7, seed=9),
        "attention_mask": tf.constant([[1] * 7, [1, 0] * 3 + [1], [0, 0, 1, 1, 1, 0, 0]]),
        "bias": tf.random.stateless_normal([3, 2, 5, 7], (4, 5)),
    }
    batteries.check_layer(
        lambda **kw: MultiHeadAttention(2, 8, dropout_rate=0.2, **kw),
        inputs,
        first="queries",
        draws=True,
    )


def test_a_mask_per_query_hides_what_each_query_may_not_see():
    layer = MultiHeadAttention(2, 8)
    x = tokens()
    causal = tf.linalg.band_part(tf.ones([3, 5, 5]), -1, 0)
    whole = layer(x, attention_mask=causal)
    first_two = layer(x[:, :2], attention_mask=causal[:, :2, :2])
    batteries.assert_close(whole[:, :2], first_two, 1e-5)


def test_keys_and_values_kept_between_calls_give_the_same():
    layer = MultiHeadAttention(2, 8)
    x = tokens()
    expected = layer(x)[:, 4:]
    old, new = layer.project_memory(x[:, :4]), layer.project_memory(x[:, 4:])
    keys, values = (tf.concat(pair, axis=2) for pair in zip(old, new, strict=True))
    got = layer.attend(
        layer.project_queries(x[:, 4:]),
        keys,
        values,
        attention_mask=None,
        bias=None,
        training=False,
        seed=None,
    )
    batteries.assert_close(got.tokens, expected, 1e-5)
