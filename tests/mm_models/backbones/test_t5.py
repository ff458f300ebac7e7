"""T5 against a float64 form of its own, its masks, precision and starting values."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.t5 import T5, shift_right
from mm_models.backbones.t5_config import T5Config, resolve
from mm_models.errors import UserError
from mm_models.layers.transformer.masks import segment_mask
from tests import batteries, parameter_counts
from tests.mm_models.backbones import t5_reference

INPUTS = np.array([[5, 9, 3, 61, 1, 0, 0], [7, 7, 2, 8, 40, 6, 1]], np.int32)
TARGETS = np.array([[4, 8, 1, 0, 0], [30, 31, 32, 33, 1]], np.int32)


def small(**changes):
    return T5Config(size="debug", dropout_rate=0.2, **changes)


def moved(config, **kwargs):
    model = T5(config, name="t5", **kwargs)
    batteries.shake(model)
    return model


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("mt5_small", 300_176_768),
        pytest.param("mt5_base", 582_401_280, marks=pytest.mark.slow),
        pytest.param("mt5_large", 1_229_581_312, marks=pytest.mark.slow),
        pytest.param("mt5_xl", 3_742_619_648, marks=pytest.mark.slow),
        ("mt5_xxl", 12_921_057_280),
        ("t5_small", 60_506_624),
    ],
)
def test_parameters_of_the_published_sizes_without_allocating_any(size, count):
    assert parameter_counts.count(lambda: T5(T5Config(size))).trainable == count


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"feed_forward": "relu", "tie_logits": True, "num_decoder_layers": 1},
        {"per_layer_bias": True, "num_heads": 3},
    ],
    ids=["mt5", "t5", "umt5"],
)
def test_logits_equal_the_float64_form(changes):
    model = moved(small(**changes))
    got = model({"inputs": tf.constant(INPUTS), "targets": tf.constant(TARGETS)})
    assert got.shape == (2, 5, 64) and got.dtype == tf.float32
    for row in range(2):
        expected = t5_reference.logits(model, INPUTS[row], TARGETS[row])
        np.testing.assert_allclose(got[row], expected, rtol=1e-4, atol=1e-4)


def test_battery(tmp_path):
    inputs = {"inputs": tf.constant(INPUTS), "targets": tf.constant(TARGETS)}
    batteries.check_model(lambda **kw: T5(small(), **kw), inputs, tmp_path)


def test_packed_examples_do_not_meet():
    model = moved(small())
    first, second = np.array([5, 9, 3, 1]), np.array([7, 2, 1])
    one, two = np.array([4, 8, 1]), np.array([30, 31, 32, 1])
    inputs = tf.constant([[*first, *second, 0]])
    segments = tf.constant([[1, 1, 1, 1, 2, 2, 2, 0]]), tf.constant([[1, 1, 1, 2, 2, 2, 2, 0]])
    targets = tf.constant([[*one, *two, 0]])
    memory = model.encode(model.embed(inputs), segment_mask(segments[0]))
    read = shift_right(targets, segments[1])
    assert read.numpy().tolist() == [[0, 4, 8, 0, 30, 31, 32, 0]]
    got = model.decode(read, memory, segments=(segments[1], segments[0]))
    assert np.all(np.isfinite(got))
    np.testing.assert_allclose(got[0, :3], t5_reference.logits(model, first, one), atol=1e-4)
    np.testing.assert_allclose(got[0, 3:7], t5_reference.logits(model, second, two), atol=1e-4)


def test_the_encoder_takes_vectors_and_biases_of_any_positions():
    model = moved(small())
    vectors = tf.random.stateless_normal([2, 5, 16], (1, 2))
    own = model.encode(vectors)
    # Only differences count, and the order of the tokens does not.
    batteries.assert_close(model.encode(vectors, bias=model.encoder_bias(range(7, 12))), own, 1e-5)
    order = [3, 0, 4, 1, 2]
    shuffled = model.encode(tf.gather(vectors, order, axis=1), bias=model.encoder_bias(order))
    batteries.assert_close(shuffled, tf.gather(own, order, axis=1), 1e-5)
    without = model.encode(vectors, bias=tf.zeros([1, 2, 5, 5]))
    assert np.abs(without - own).max() > 1e-3


def test_gradients_are_the_same_with_rematerialized_blocks():
    inputs = {"inputs": tf.constant(INPUTS), "targets": tf.constant(TARGETS)}
    models = [moved(small(per_layer_bias=True, rematerialize=again)) for again in (False, True)]
    batteries.copy_weights(*models)

    def gradients(model):
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True, seed=batteries.seed())
            loss = tf.reduce_mean(logits**2)
        return tape.gradient(loss, [weight.value for weight in model.weights])

    batteries.assert_close(gradients(models[1]), gradients(models[0]), 1e-4)


def test_bfloat16_holds_values_that_float16_cannot():
    with pytest.raises(UserError, match="float16"):
        T5(small(), dtype="mixed_float16")
    full, mixed = moved(small()), T5(small(), dtype="mixed_bfloat16")
    for weight in full.weights:
        if weight.path.endswith("mlp/wi_1/kernel"):
            weight.assign(weight.numpy() * 1e5)
    batteries.copy_weights(full, mixed)
    inputs = {"inputs": tf.constant(INPUTS), "targets": tf.constant(TARGETS)}
    block = mixed.encoder.block_0
    grown = block.mlp(block.mlp_norm(mixed.embed(inputs["inputs"])))
    assert grown.dtype == tf.bfloat16 and np.abs(tf.cast(grown, tf.float32)).max() > 65504
    got, expected = mixed(inputs), full(inputs)
    assert got.dtype == tf.float32
    assert np.abs(got - expected).max() < 0.1 * np.abs(expected).max()


def test_starting_values_are_those_of_t5x():
    config = small(width=256, mlp_dim=384, num_heads=8, head_dim=32, vocabulary_size=300)
    weights = {w.path.split("/", 1)[1]: w.numpy() for w in T5(config).weights}
    spread = {
        "token_embedding/embeddings": 1.0,
        "encoder/block_0/attention/q/kernel": (256 * 32) ** -0.5,
        "decoder/block_1/cross_attention/k/kernel": 256**-0.5,
        "decoder/block_0/attention/o/kernel": 256**-0.5,
        "encoder/block_1/mlp/wi_1/kernel": 256**-0.5,
        "decoder/block_1/mlp/wo/kernel": 384**-0.5,
        "logits_dense/kernel": 256**-0.5,
        "encoder_relative_bias/embeddings": 20**-0.5,  # 2 / (8 heads + 32 buckets)
    }
    for path, expected in spread.items():
        tolerance = 0.1 if "relative" in path else 0.02
        assert weights[path].std() == pytest.approx(expected, rel=tolerance), path
    normal = weights["encoder/block_0/attention/k/kernel"] * 16.0
    assert np.abs(normal).max() > 3.5  # a truncated one would end at 2.3 deviations
    assert np.abs(weights["encoder/block_0/mlp/wi_0/kernel"] * 16.0).max() < 2.3


def test_every_field_of_the_config_matters():
    base = moved(small())
    # Long enough for distances that buckets share.
    inputs = {"inputs": tf.constant(np.tile(INPUTS, 6)), "targets": tf.constant(TARGETS)}
    expected = base(inputs, training=True, seed=batteries.seed())

    def differs(**changes):
        model = T5(dataclasses.replace(small(), **changes))
        if [w.shape for w in model.weights] != [w.shape for w in base.weights]:
            return True
        batteries.copy_weights(base, model)
        outputs = model(inputs, training=True, seed=batteries.seed())
        return not np.array_equal(outputs, expected)

    values = {
        "width": 24,
        "num_encoder_layers": 1,
        "num_decoder_layers": 3,
        "num_heads": 4,
        "head_dim": 4,
        "mlp_dim": 8,
        "vocabulary_size": 65,
        "feed_forward": "relu",
        "tie_logits": True,
        "per_layer_bias": True,
        "num_buckets": 16,
        "max_distance": 40,
        "dropout_rate": 0.0,
    }
    assert [name for name, value in values.items() if not differs(**{name: value})] == []
    # Besides the size, only what changes no number, which has a test of its own, is missing.
    fields = {field.name for field in dataclasses.fields(T5Config)}
    assert fields - set(values) == {"size", "rematerialize"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "mt5_huge"}, "size is 'mt5_huge'"),
        ({"width": 0}, "width is 0"),
        ({"feed_forward": "swiglu"}, "feed_forward is 'swiglu'"),
        ({"num_buckets": 30}, "num_buckets is 30"),
        ({"max_distance": 16}, "max_distance is 16"),
        ({"dropout_rate": 1.0}, "dropout_rate is 1.0"),
    ],
)
def test_configs_that_make_no_sense(changes, message):
    with pytest.raises(UserError, match=message):
        resolve(T5Config(**changes))
