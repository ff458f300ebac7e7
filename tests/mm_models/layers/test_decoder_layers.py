"""What decoders are made of: buckets, masks, gates, cross-attention, and steps over a cache."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.layers.initializers import kernel_initializer
from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.block import TransformerBlock
from mm_models.layers.transformer.block_inputs import BlockInputs, CachedInputs
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.masks import cache_mask, causal_mask, segment_mask
from mm_models.layers.transformer.mlp import Mlp
from mm_models.layers.transformer.relative_bias import RelativeBias, relative_buckets
from mm_models.layers.transformer.stack import TransformerStack, run_stack
from tests import batteries

OPTIONS = BlockOptions(
    dim=12,
    mlp_dim=20,
    num_heads=2,
    head_dim=8,
    use_bias=False,
    scale_scores=False,
    attention_norm="rms",
    mlp_norm="rms",
    activation="gelu_tanh",
    attention_dropout_rate=0.2,
    dropout_rate=0.2,
    gated=True,
    cross_attention=True,
    initialization="t5x",
)


def tokens(batch=3, length=5, seed=1):
    return tf.random.stateless_normal([batch, length, 12], (seed, 2))


def test_buckets_of_attention_in_both_directions():
    expected = {-1: 1, -7: 7, -8: 8, -11: 8, -12: 9, -16: 10, -23: 11, -32: 12, -46: 13, -64: 14}
    expected |= {-90: 14, -91: 15, -1000: 15, 0: 0, 1: 17, 8: 24, 16: 26, 64: 30, 91: 31, 500: 31}
    got = relative_buckets(np.array(list(expected)), 32, 128)
    assert got.tolist() == list(expected.values())


def test_causal_buckets():
    starts = [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113, 301]
    expected = list(range(16))
    for bucket, (start, end) in enumerate(zip(starts, starts[1:], strict=False), 16):
        expected += [bucket] * (end - start)
    got = relative_buckets(-np.arange(301), 32, 128, causal=True)
    assert got.tolist() == expected
    assert relative_buckets(np.arange(1, 300), 32, 128, causal=True).max() == 0


@pytest.mark.parametrize("causal", [False, True])
def test_rows_of_a_bias_are_those_of_the_whole(causal):
    layer = RelativeBias(3, max_distance=20, num_buckets=8, causal=causal)
    whole = layer(tokens(length=40))
    rows = tf.function(lambda position: layer.rows(position, 2, 40), jit_compile=True)
    for position in (0, 17, 38):
        got = rows(tf.constant(position))
        np.testing.assert_array_equal(got, whole[:, :, position : position + 2])
    order = np.array([7, 0, 30])
    got = layer.between(order)
    np.testing.assert_array_equal(got, tf.gather(tf.gather(whole, order, axis=2), order, axis=3))


def test_long_biases_and_their_gradients_either_way():
    layer = RelativeBias(3, max_distance=20, num_buckets=8)
    layer.build()
    table = layer.embeddings.value
    weights = tf.random.stateless_normal([1, 3, 30, 30], (2, 6))
    # Reversed, the positions do not follow one another, and the bias is found entry by entry.
    order, found = np.arange(30), []
    for positions, weighted in ((order, weights), (order[::-1], weights[:, :, ::-1, ::-1])):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer.between(positions) * weighted)
        found.append((total, tape.gradient(total, table)))
    batteries.assert_close(found[0], found[1], 1e-4)
    expected = np.zeros([8, 3])
    buckets = relative_buckets(order[None] - order[:, None], 8, 20)
    np.add.at(expected, buckets, np.moveaxis(weights[0].numpy(), 0, -1))
    np.testing.assert_allclose(found[0][1], expected, atol=1e-4)
    # Of a picture of 588 pixels and a prompt: no array with an axis of buckets is built.
    graph = tf.function(lambda: layer.between(np.arange(1800))).get_concrete_function().graph
    assert graph.as_graph_def().ByteSize() < 1_000_000


def test_masks():
    assert causal_mask(3).numpy().tolist() == [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]
    assert cache_mask(tf.constant(1), 2, 4).numpy().tolist() == [[[1, 1, 0, 0], [1, 1, 1, 0]]]
    got = segment_mask(tf.constant([[1, 2, 0]]), tf.constant([[1, 2, 2, 0]]))
    assert got.numpy().tolist() == [[[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]]


def test_battery_of_the_gated_half():
    batteries.check_layer(
        lambda **kw: Mlp(20, gated=True, initialization="t5x", dropout_rate=0.3, **kw),
        {"inputs": tokens()},
        first="inputs",
        draws=True,
    )


def forward(block, **values):
    if not block.built:
        block.build()
    return block.forward(BlockInputs(**values))[0]


def test_battery_of_a_block_with_a_memory():
    inputs = {
        "tokens": tokens(),
        "attention_mask": tf.repeat(causal_mask(5), 3, axis=0),
        "memory": tokens(length=7, seed=9),
        "memory_mask": tf.constant([[1] * 7, [1, 0] * 3 + [1], [0, 0, 1, 1, 1, 0, 0]]),
    }
    batteries.check_layer(
        lambda **kw: TransformerBlock(OPTIONS, **kw),
        inputs,
        call=forward,
        draws=True,
    )


def test_the_first_rows_alone_are_the_first_of_all():
    block = TransformerBlock(OPTIONS)
    block.build()
    memory_mask = tf.constant([[[1, 1, 0, 0, 1, 1, 0]] * 2 + [[0, 1, 1, 1, 0, 0, 1]] * 3] * 3)
    memory = {"memory": tokens(length=7, seed=9), "memory_mask": memory_mask}
    whole, *_ = block.forward(BlockInputs(tokens(), **memory))
    first, *_ = block.forward(BlockInputs(tokens(), num_outputs=3, **memory))
    batteries.assert_close(first, whole[:, :3], 1e-5)


def test_every_block_may_have_its_own_bias():
    stack = TransformerStack(2, dataclasses.replace(OPTIONS, cross_attention=False))
    stack.build()
    batteries.shake(stack)
    biases = tuple(tf.random.stateless_normal([1, 2, 5, 5], (seed, 1)) for seed in (1, 2))
    middle, *_ = stack.block_0.forward(BlockInputs(tokens(), bias=biases[0]))
    last, *_ = stack.block_1.forward(BlockInputs(middle, bias=biases[1]))
    inputs = BlockInputs(tokens(), bias=biases)
    batteries.assert_close(stack.forward(inputs).tokens, stack.final_norm(last), 1e-6)


def test_a_stack_cut_at_its_last_dense_is_the_whole_stack():
    stack = TransformerStack(2, OPTIONS)
    stack.build()
    batteries.shake(stack)
    inputs = BlockInputs(
        tokens(),
        causal_mask(5),
        num_outputs=2,
        memory=tokens(length=7, seed=9),
        training=True,
        seed=batteries.seed(),
    )
    expected = run_stack(stack, inputs)
    rows = stack.open(inputs)
    assert rows.residual.shape == (3, 2, 12) and rows.hidden.shape == (3, 2, 20)
    closed = stack.close(rows.residual, stack.last_dense(rows.hidden), inputs)
    np.testing.assert_array_equal(closed, expected)


def test_a_decoder_without_a_memory_steps_behind_a_prefix_that_sees_itself():
    stack = TransformerStack(2, dataclasses.replace(OPTIONS, cross_attention=False))
    stack.build()
    batteries.shake(stack)
    x = tokens(length=6)
    mask = np.tril(np.ones([6, 6], np.float32))
    mask[:3, :3] = 1.0
    expected = stack.forward(BlockInputs(x, tf.constant(mask)[None])).tokens

    cache = stack.empty_cache(3, 6)
    rows, cache = stack.step(CachedInputs(x[:, :3], 0, tf.constant(mask)[None, :3]), cache)
    outputs = [rows]
    for position in range(3, 6):
        now = tf.constant(position)
        seen = cache_mask(now, 1, 6)
        row, cache = stack.step(CachedInputs(x[:, position : position + 1], now, seen), cache)
        outputs.append(row)
    batteries.assert_close(tf.concat(outputs, axis=1), expected, 1e-5)


class Counting(MultiHeadAttention):
    """Keeps the number of its reads beside keys and values, and adds it to what it reads."""

    def empty_cache(self, num_rows, max_length):
        return {**super().empty_cache(num_rows, max_length), "reads": tf.zeros([num_rows])}

    def step(self, queries, cache, position, **options):
        attended, cache = super().step(queries, cache, position, **options)
        cache = {**cache, "reads": cache["reads"] + 1.0}
        return attended + cache["reads"][:, None, None], cache


class CountingBlock(TransformerBlock):
    def make_attention(self, name, role=None):
        return Counting(2, 8, name=name)


class CountingStack(TransformerStack):
    def make_block(self, name, experts, options):
        return CountingBlock(options, experts, name=name)


def test_layers_may_be_of_another_kind_and_keep_more_in_the_cache():
    stack = CountingStack(2, dataclasses.replace(OPTIONS, cross_attention=False))
    stack.build()
    cache, outputs = stack.empty_cache(3, 4), []
    for position in range(2):
        mask = cache_mask(position, 1, 4)
        row, cache = stack.step(CachedInputs(tokens(length=1), position, mask), cache)
        outputs.append(row)
    assert [one["reads"].numpy().tolist() for one in cache] == [[2.0] * 3] * 2
    assert np.abs(outputs[1] - outputs[0]).max() > 0.01


def test_rows_share_the_memory_of_their_example():
    layer = MultiHeadAttention(2, 8)
    memory, mask = tokens(length=7, seed=9), tf.constant([[1] * 7, [1, 0] * 3 + [1], [1] + [0] * 6])
    queries = tokens(batch=6)
    expected = layer(queries, tf.repeat(memory, 2, axis=0), tf.repeat(mask, 2, axis=0))
    got = layer.read(queries, layer.remember(memory), mask)
    batteries.assert_close(got, expected, 1e-5)


def test_experts_have_no_gates_and_unknown_starting_values_are_refused():
    with pytest.raises(ValueError, match="experts have no gated form"):
        TransformerBlock(OPTIONS, {"num_experts": 2})
    with pytest.raises(ValueError, match="'glorot' or 't5x'"):
        kernel_initializer("he", "query")
    with pytest.raises(ValueError, match="'truncated_normal' or 't5x'"):
        RelativeBias(2, initialization="zeros")
