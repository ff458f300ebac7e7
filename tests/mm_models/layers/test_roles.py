"""Roles against their formulas, and steps against whole sequences."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.layers.quantization.quantizer_options import QuantizerOptions
from mm_models.layers.roles.make_role import make_role
from mm_models.layers.roles.role_options import RoleOptions
from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.heads import split_heads
from mm_models.layers.transformer.masks import cache_mask, causal_mask
from tests import batteries

KINDS = ["self_role", "relative_role", "attn_relative_role"]
HEADS, HEAD_DIM, DIM, TOKENS = 2, 4, 6, 5


def _attention(kind, masked=True, **options):
    quantizer = QuantizerOptions(num_codes=9, similarity_dropout_rate=0.1)
    role = RoleOptions(kind, quantizer, dropout_rate=0.1, masked=masked)
    return MultiHeadAttention(HEADS, HEAD_DIM, use_bias=False, role=role, **options)


def _tokens(seed, length=TOKENS, batch=3):
    return tf.random.stateless_normal([batch, length, DIM], (seed, 1))


def _built(kind, **options):
    layer = _attention(kind, **options)
    layer.build((None, None, DIM))
    batteries.shake(layer, 0.3)
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_battery(kind):
    inputs = {"queries": _tokens(1), "positions": _tokens(2, batch=1)}

    def call(layer, queries, positions, **options):
        attended = layer(queries, positions=positions, detailed=True, **options)
        report = attended.roles.report
        if report is None:
            return attended.tokens
        return attended.tokens, report.codebook_error, report.commitment_error

    batteries.check_layer(
        lambda dtype: _attention(kind, dtype=dtype),
        inputs | {"positions": tf.repeat(inputs["positions"], 3, axis=0)},
        call=call,
        draws=True,
        mixed_tolerance=10.0,  # a code that two vectors are as near to may be either
    )


@pytest.mark.parametrize("kind", KINDS)
def test_roles_multiply_what_the_heads_attend_to(kind):
    layer, tokens = _built(kind), _tokens(1)
    attended = layer(tokens, detailed=True)
    plain = MultiHeadAttention(HEADS, HEAD_DIM, use_bias=False)
    plain.build((None, None, DIM))
    for name in "qkvo":
        getattr(plain, name).kernel.assign(getattr(layer, name).kernel)
    captured = {}
    output = plain.o.call
    plain.o.call = lambda joined, **_: captured.update(joined=joined) or output(joined)
    expected_if_one = plain(tokens)
    heads = split_heads(captured["joined"], HEADS) * attended.roles.values
    joined = tf.reshape(tf.transpose(heads, [0, 2, 1, 3]), [3, TOKENS, HEADS * HEAD_DIM])
    batteries.assert_close(attended.tokens, plain.o(joined), 1e-5)
    ones = attended.roles._replace(values=tf.ones_like(attended.roles.values))
    layer.role_layer.bind = lambda *_, **__: ones
    batteries.assert_close(layer(tokens), expected_if_one, 1e-6)


def _norm(values, norm):
    centered = values - values.mean(-1, keepdims=True)
    scaled = centered / np.sqrt(np.mean(centered**2, axis=-1, keepdims=True) + 1e-6)
    return scaled * norm.gamma.numpy() + norm.beta.numpy()


def _coded(states, dictionary):
    codes = dictionary.codes.embeddings.numpy()
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    cosines = unit @ (codes / np.linalg.norm(codes, axis=-1, keepdims=True)).T
    ids = cosines.argmax(-1)
    mapped = _norm(codes[ids], dictionary.norm) @ dictionary.dense.kernel.numpy()
    return mapped, ids, cosines.max(-1)


def _heads(values):
    batch, tokens, _ = values.shape
    return values.reshape(batch, tokens, HEADS, HEAD_DIM).transpose(0, 2, 1, 3)


def test_attended_roles_equal_numpy():
    layer = _built("attn_relative_role")
    role = layer.role_layer
    tokens, places = _tokens(1).numpy(), _tokens(2, batch=1).numpy()
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 1, 0]], np.float32)
    roles = layer(
        tf.constant(tokens),
        positions=tf.constant(places),
        attention_mask=tf.constant(mask),
        detailed=True,
    ).roles
    q, k, v = (_heads((tokens + places) @ getattr(role, n).kernel.numpy()) for n in "qkv")
    scores = q @ k.transpose(0, 1, 3, 2) - 1e9 * (1 - mask[:, None, None])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mapped, ids, fit = _coded(weights @ v, role.dictionary)
    np.testing.assert_allclose(roles.values, _norm(mapped, role.norm), atol=1e-4)
    np.testing.assert_array_equal(roles.trace.ids, ids)
    np.testing.assert_allclose(roles.trace.scores, fit, atol=1e-5)
    np.testing.assert_allclose(roles.trace.weights, weights, atol=1e-5)
    assert np.all(roles.trace.weights.numpy()[1, ..., 3:] == 0.0)


def test_scores_of_attended_roles_start_as_small_as_those_of_t5():
    """Codes pass gradients on as if they were the vectors: what is too steep at the start grows
    from layer to layer."""
    layer = make_role(
        RoleOptions("attn_relative_role"), num_heads=4, head_dim=64, name="role", dtype="float32"
    )
    layer.build((None, None, 256))
    spread = {name: np.std(getattr(layer, name).kernel.numpy()) for name in "qkv"}
    expected = {"q": (256 * 64) ** -0.5, "k": 256**-0.5, "v": 256**-0.5}
    assert spread == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("masked", [True, False])
def test_roles_of_pairs_equal_numpy(masked):
    layer = _built("relative_role", masked=masked)
    role = layer.role_layer
    tokens, places = _tokens(1).numpy(), _tokens(2, batch=1).numpy()
    roles = layer(
        tf.constant(tokens),
        positions=tf.constant(places),
        attention_mask=causal_mask(TOKENS),
        detailed=True,
    ).roles
    placed, nothing = tokens + places, np.zeros_like(tokens)
    kernel = role.pair.kernel.numpy()
    mine = _heads(np.concatenate([placed, nothing], -1) @ kernel)
    theirs = _heads(np.concatenate([nothing, placed], -1) @ kernel)
    mapped, ids, fit = _coded(mine[:, :, :, None] + theirs[:, :, None], role.dictionary)
    seen = np.tril(np.ones([TOKENS, TOKENS])) if masked else np.ones([TOKENS, TOKENS])
    shares = seen / seen.sum(-1, keepdims=True)
    mean = np.sum(mapped * (fit * shares)[..., None], axis=3)
    np.testing.assert_allclose(roles.values, _norm(mean, role.norm), atol=1e-4)
    np.testing.assert_array_equal(roles.trace.ids, ids)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_with_a_cache_equal_the_whole(kind):
    layer = _built(kind)
    tokens, places = _tokens(1), _tokens(2, batch=1)
    whole = layer(tokens, positions=places, attention_mask=causal_mask(TOKENS))
    cache, rows = layer.empty_cache(3, TOKENS), []
    for start, count in ((0, 2), (2, 1), (3, 1), (4, 1)):
        part = slice(start, start + count)
        row, cache = layer.step(
            tokens[:, part],
            cache,
            tf.constant(start),
            attention_mask=cache_mask(tf.constant(start), count, TOKENS),
            bias=None,
            positions=places[:, part],
        )
        rows.append(row)
    batteries.assert_close(tf.concat(rows, axis=1), whole, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_share_the_memory_of_their_example(kind):
    layer = _built(kind)
    memory, memory_places = _tokens(3, length=7, batch=2), _tokens(4, length=7, batch=1)
    queries, places = _tokens(5, batch=6), _tokens(6, batch=1)
    bias = tf.random.stateless_normal([1, HEADS, TOKENS, 7], (7, 1))
    mask = tf.constant([[1.0] * 7, [1.0] * 4 + [0.0] * 3])
    expected = layer(
        queries,
        tf.repeat(memory, 3, axis=0),
        tf.repeat(mask, 3, axis=0),
        bias,
        positions=places,
        memory_positions=memory_places,
    )
    remembered = layer.remember(memory, memory_places)
    batteries.assert_close(layer.read(queries, remembered, mask, bias, places), expected, 1e-5)


def test_a_decoder_that_averages_over_unseen_pairs_reads_what_it_is_to_write():
    tokens = _tokens(1)
    changed = tf.concat([tokens[:, :4], tokens[:, 4:] + 3.0], axis=1)
    for masked, leaks in ((True, False), (False, True)):
        layer = _built("relative_role", masked=masked)
        first, second = (layer(x, attention_mask=causal_mask(TOKENS)) for x in (tokens, changed))
        assert (np.max(np.abs(first[:, :4] - second[:, :4])) > 1e-4) == leaks
