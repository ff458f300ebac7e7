"""Stacks with expert blocks and normalised queries and keys."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.block import TransformerBlock
from mm_models.layers.transformer.block_inputs import BlockInputs
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.normalization import make_norm
from mm_models.layers.transformer.stack import TransformerStack
from tests import batteries

EXPERTS = {"num_experts": 4}


def block_options(dim=12, mlp_dim=20, num_heads=2, **options):
    bare = {"use_bias": False, "activation": "gelu_tanh", "qk_norm": True}
    bare |= {"attention_norm": "layer_scale", "mlp_norm": "layer_scale"}
    return BlockOptions(dim, mlp_dim, num_heads, dim // num_heads, **{**bare, **options})


def make(expert_layers=(1, 2), experts=EXPERTS, dtype="float32", num_layers=3, **options):
    stack = TransformerStack(
        num_layers,
        block_options(**options),
        experts=experts,
        expert_layers=expert_layers,
        dtype=dtype,
        name="stack",
    )
    stack.build()
    return stack


def tokens(batch=4, length=8, dim=12, seed=1):
    return tf.random.stateless_normal([batch, length, dim], (seed, 2))


@pytest.mark.parametrize(
    ("dim", "num_layers", "num_heads", "num_experts", "count"),
    [
        (384, 12, 6, 0, 21_243_648),
        (768, 12, 12, 0, 84_954_624),
        (1024, 24, 16, 0, 302_041_088),
        (384, 12, 6, 4, 42_488_064),
        (768, 12, 12, 16, 509_703_168),
        (1024, 24, 16, 16, 1_057_117_184),
    ],
)
def test_parameters_of_the_published_encoders(dim, num_layers, num_heads, num_experts, count):
    options = block_options(dim, 4 * dim, num_heads, qk_norm=num_experts > 0)
    last = range(num_layers - 6, num_layers) if num_experts else ()
    experts = {"num_experts": num_experts} if num_experts else None
    with tf.Graph().as_default():  # never run: nothing is allocated
        stack = TransformerStack(num_layers, options, experts=experts, expert_layers=last)
        stack.build()
        assert sum(math.prod(weight.shape) for weight in stack.weights) == count


def test_names_of_the_weights():
    paths = [weight.path for weight in make(expert_layers=[2]).weights]
    parts = ["attention_norm/gamma", *(f"attention/{name}/kernel" for name in "qkvo")]
    parts += ["attention/q_norm/gamma", "attention/k_norm/gamma", "mlp_norm/gamma"]
    dense = [*parts, "mlp/wi/kernel", "mlp/wo/kernel"]
    held = [*parts, *(f"experts/{name}/kernel" for name in ("router", "wi", "wo"))]
    expected = {f"stack/block_{index}/{name}" for index in (0, 1) for name in dense}
    expected |= {f"stack/block_2/{name}" for name in held}
    assert set(paths) == expected | {"stack/final_norm/gamma", "stack/final_norm/beta"}


def test_a_stack_without_expert_layers_is_as_before():
    plain, unused = make((), None), make((), EXPERTS)
    assert [w.path for w in plain.weights] == [w.path for w in unused.weights]
    batteries.copy_weights(plain, unused)
    outputs = unused.forward(BlockInputs(tokens()))
    assert outputs.routings == ()
    np.testing.assert_array_equal(outputs.tokens, plain(tokens()))
    inputs = BlockInputs(tokens(), num_outputs=2)
    rows = plain.open(inputs)
    closed = plain.close(rows.residual, plain.last_dense(rows.hidden), inputs)
    np.testing.assert_allclose(closed, plain(tokens())[:, :2], rtol=1e-5, atol=1e-6)


def test_forward_gives_the_tokens_of_call_and_one_routing_per_expert_block():
    stack = make()
    outputs = stack.forward(BlockInputs(tokens()))
    np.testing.assert_array_equal(outputs.tokens, stack(tokens()))
    assert [float(routing.num_tokens) for routing in outputs.routings] == [32.0, 32.0]
    assert outputs.routings[0].load.shape == (4,)


def test_a_block_is_attention_and_then_its_experts():
    block = TransformerBlock(block_options(), EXPERTS)
    block.build()
    batteries.shake(block)
    x = tokens()
    outputs, routing, *_ = block.forward(BlockInputs(x))
    attended = x + block.attention(block.attention_norm(x))
    taken = block.experts(block.mlp_norm(attended))
    batteries.assert_close((outputs, routing), (attended + taken.tokens, taken.routing), 1e-5)


def test_an_example_alone_equals_its_row():
    stack = make()
    batteries.shake(stack)
    mask = tf.constant([[1] * 8, [1] * 5 + [0] * 3, [1] * 8, [1] * 2 + [0] * 6])
    inputs = {"tokens": tokens(), "attention_mask": mask}
    batteries.check_row_alone(lambda values: stack.forward(BlockInputs(**values)).tokens, inputs)
    together = make(experts={**EXPERTS, "eval_group": "batch"})
    batteries.copy_weights(stack, together)
    assert np.abs(together(tokens())[1:2] - together(tokens()[1:2])).max() > 1e-3


def test_the_attention_mask_of_rank_two_is_the_padding_mask():
    stack = make(experts={**EXPERTS, "ignore_padding": True})
    mask = tf.constant([[1] * 8, [1] * 5 + [0] * 3, [1] * 8, [1] * 2 + [0] * 6])
    routings = stack.forward(BlockInputs(tokens(), mask, training=True)).routings
    assert [float(routing.num_tokens) for routing in routings] == [23.0, 23.0]
    pairs = mask[:, tf.newaxis, :] * tf.ones([4, 8, 8], tf.int32)
    routings = stack.forward(BlockInputs(tokens(), pairs, training=True)).routings
    assert float(routings[0].num_tokens) == 32.0


def test_rows_asked_for_are_those_of_all_rows():
    for layers in ((1, 2), (0,)):
        stack = make(layers)
        whole = stack(tokens())
        first = stack.forward(BlockInputs(tokens(), num_outputs=1)).tokens
        np.testing.assert_allclose(first, whole[:, :1], rtol=1e-5, atol=1e-5)


def test_battery():
    batteries.check_layer(
        lambda **kw: make((0,), num_layers=1, dropout_rate=0.2, attention_dropout_rate=0.1, **kw),
        {"inputs": tokens()},
        first="inputs",
        draws=True,
        mixed_tolerance=0.3,
    )


def test_mixed_precision_takes_float32_tokens():
    stack = make(dtype="mixed_bfloat16")
    outputs = stack.forward(BlockInputs(tokens()))
    assert outputs.tokens.dtype == tf.bfloat16
    assert all(value.dtype == tf.float32 for value in tf.nest.flatten(outputs.routings))


def layer_norm(x, scale):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) * scale


def test_queries_and_keys_are_normalised_per_head_with_one_scale_for_all():
    layer = MultiHeadAttention(2, 6, use_bias=False, qk_norm=True, name="attention")
    layer.build((None, None, 12))
    batteries.shake(layer, 0.5)
    w = {weight.path: weight.numpy().astype(np.float64) for weight in layer.weights}
    assert w["attention/q_norm/gamma"].shape == w["attention/k_norm/gamma"].shape == (6,)
    x = tokens()
    expected = []
    for row in x.numpy().astype(np.float64):
        q, k, v = (row @ w[f"attention/{name}/kernel"] for name in "qkv")
        heads = []
        for part in (slice(0, 6), slice(6, 12)):
            queries = layer_norm(q[:, part], w["attention/q_norm/gamma"])
            keys = layer_norm(k[:, part], w["attention/k_norm/gamma"])
            scores = np.exp(queries @ keys.T / math.sqrt(6))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ v[:, part])
        expected.append(np.concatenate(heads, axis=1) @ w["attention/o/kernel"])
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_layer_scale_is_layer_norm_without_an_offset():
    norm = make_norm("layer_scale", name="norm", dtype="float32")
    norm.build((None, 12))
    assert [weight.path for weight in norm.weights] == ["norm/gamma"]
    norm.gamma.assign(np.linspace(0.5, 2.0, 12))
    x = tokens()
    expected = layer_norm(x.numpy().astype(np.float64), np.linspace(0.5, 2.0, 12))
    np.testing.assert_allclose(norm(x), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="layer_scale"):
        make_norm("batch", name="norm", dtype="float32")


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="no experts are given"):
        make((1,), None)
    with pytest.raises(ValueError, match="different indices below 3"):
        make((3,))
    with pytest.raises(ValueError, match="no single last Dense"):
        make((2,)).open(BlockInputs(tokens()))
