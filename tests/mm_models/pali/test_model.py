"""PaLI's model: the battery, positions of the joint sequence, text alone, decoding, resolution."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones import vit_config
from mm_models.backbones.t5_config import T5Config
from mm_models.backbones.vit_config import VitConfig
from mm_models.decoding.config import DecodingConfig
from mm_models.decoding.options import decode
from mm_models.errors import UserError
from mm_models.pali.config import PaliConfig, resolve
from mm_models.pali.model import PaliModel
from tests import batteries, parameter_counts
from tests.mm_models.backbones.t5_reference import bias_of

TEXT = np.array([[5, 9, 3, 1, 0, 0], [7, 2, 8, 40, 6, 1]], np.int32)
TARGETS = np.array([[4, 8, 1, 0], [30, 31, 32, 1]], np.int32)


def small(**changes):
    return PaliConfig(size="debug", **{"vision": VitConfig(size="", image_size=16)} | changes)


def moved(config=None, **kwargs):
    model = PaliModel(config or small(), name="pali", **kwargs)
    batteries.shake(model)
    return model


def batch(num_images=2):
    video = np.random.default_rng(0).uniform(-1, 1, [2, num_images, 16, 16, 3])
    return {
        "video": tf.constant(video, tf.float32),
        "inputs": tf.constant(TEXT),
        "targets": tf.constant(TARGETS),
    }


def test_battery(tmp_path):
    batteries.check_model(lambda dtype: PaliModel(small(), dtype=dtype), batch(), tmp_path)


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("pali_3b", 1_842_772_352 + 1_229_581_312 + 1664 * 1024 + 1024),
        pytest.param(
            "pali_15b", 1_842_772_352 + 12_921_057_280 + 1664 * 4096 + 4096, marks=pytest.mark.slow
        ),
        pytest.param(
            "pali_17b", 3_805_417_728 + 12_921_057_280 + 1792 * 4096 + 4096, marks=pytest.mark.slow
        ),
    ],
)
def test_parameters_of_the_published_sizes(size, count):
    found = parameter_counts.count(lambda: PaliModel(PaliConfig(size)))
    assert found.trainable == count


def test_visual_tokens_stand_in_front_and_are_never_masked():
    model = moved()
    memory = model.encode(batch())
    assert memory.tokens.shape == (2, 2 * 4 + 6, 16)
    np.testing.assert_array_equal(memory.mask[:, :8], 1.0)
    np.testing.assert_array_equal(memory.mask[:, 8:], TEXT != 0)
    visual = model.visual_tokens(batch()["video"])
    for image in range(2):
        one = model.visual_tokens(batch()["video"][:, image : image + 1])
        np.testing.assert_allclose(visual[:, 4 * image : 4 * image + 4], one, atol=1e-5, rtol=1e-4)
    by_hand = model.projection(model.vision(batch()["video"][:, 0]))
    np.testing.assert_allclose(visual[:, :4], by_hand, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("per_layer_bias", [False, True])
def test_biases_of_both_strategies(per_layer_bias):
    """`joint` counts visual tokens and text as one sequence; `text_only` adds nothing to pairs
    that touch an image."""
    language = T5Config(size="", per_layer_bias=per_layer_bias)
    joint = moved(small(language=language))
    text_only = PaliModel(small(language=language, position_bias="text_only"), name="pali")
    batteries.copy_weights(joint, text_only)
    seen = {}

    def listen(model, name):
        original = model.language.encode

        def encode(tokens, mask, bias, **options):
            seen[name] = bias
            return original(tokens, mask, bias, **options)

        model.language.encode = encode

    listen(joint, "joint"), listen(text_only, "text_only")
    outputs = [model.encode(batch()).tokens for model in (joint, text_only)]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
    assert seen["joint"] is None
    tables = [layer.embeddings.numpy() for layer in joint.language.biases("encoder")]
    given = seen["text_only"] if per_layer_bias else (seen["text_only"],)
    for table, bias in zip(tables, given, strict=True):
        expected = np.zeros([14, 14, 2])
        expected[8:, 8:] = bias_of(table, range(6), range(6), causal=False)
        np.testing.assert_allclose(np.transpose(bias[0], [1, 2, 0]), expected, atol=1e-6, rtol=1e-4)
    # The strategy is no part of the weights, and without images it makes no difference.
    alone = {name: value for name, value in batch().items() if name != "video"}
    np.testing.assert_allclose(joint(alone), text_only(alone), atol=1e-5, rtol=1e-4)


def test_text_alone_touches_no_part_of_vision():
    model = moved()
    alone = {name: value for name, value in batch().items() if name != "video"}
    run = tf.function(model.__call__, autograph=False).get_concrete_function(alone)
    captured = {id(variable.handle) for variable in run.variables}
    vision = {id(weight.value.handle) for weight in model.vision.weights}
    assert not captured & vision
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(alone) ** 2)
    weights = [weight.value for weight in model.trainable_weights]
    reached = [
        weight.path
        for weight, gradient in zip(
            model.trainable_weights, tape.gradient(loss, weights), strict=True
        )
        if gradient is not None
    ]
    assert {path.split("/")[0] for path in reached} == {"language"}


def test_packed_rows_equal_their_examples_apart():
    model = moved()
    packed = {
        "inputs": tf.constant([[5, 9, 1, 7, 2, 8, 1, 0]]),
        "input_segments": tf.constant([[1, 1, 1, 2, 2, 2, 2, 0]]),
        "targets": tf.constant([[4, 1, 30, 31, 1, 0]]),
        "target_segments": tf.constant([[1, 1, 2, 2, 2, 0]]),
    }
    logits = model(packed)
    first = model({"inputs": tf.constant([[5, 9, 1]]), "targets": tf.constant([[4, 1]])})
    second = model({"inputs": tf.constant([[7, 2, 8, 1]]), "targets": tf.constant([[30, 31, 1]])})
    np.testing.assert_allclose(logits[:, :2], first, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(logits[:, 2:5], second, atol=1e-5, rtol=1e-4)


def test_decoding_with_a_cache_writes_what_the_whole_model_would():
    model = moved()
    inputs = {name: value for name, value in batch().items() if name != "targets"}
    config = DecodingConfig(method="greedy", max_length=6)
    state = model.start_decoding(inputs, 6)
    start = tf.zeros([2], tf.int32)
    written = decode(config, model.decode_step, state, start, model.end_id)
    ids = np.zeros([2, 6], np.int32)
    for position in range(6):
        logits = model({**inputs, "targets": tf.constant(ids)})[:, position]
        going = (ids[:, :position] != model.end_id).all(axis=1)
        ids[:, position] = np.where(going, np.argmax(logits, axis=1), 0)
    np.testing.assert_array_equal(written.ids, ids)
    labels = tf.constant([[9, 1, 0], [4, 8, 1], [30, 31, 1]])
    scores = model.score(inputs, labels, labels_per_call=2)
    np.testing.assert_allclose(model.score(inputs, labels), scores, atol=1e-4)
    own = model.score(inputs, tf.stack([labels, labels[::-1]]))
    np.testing.assert_allclose(own[0], scores[0], atol=1e-4)
    np.testing.assert_allclose(own[1], scores[1, ::-1], atol=1e-4)
    for index, label in enumerate(labels):
        log_p = tf.nn.log_softmax(model({**inputs, "targets": tf.stack([label, label])}))
        by_hand = tf.gather(log_p, tf.stack([label, label]), axis=2, batch_dims=2)
        by_hand = tf.reduce_sum(by_hand * tf.cast(label > 0, tf.float32), axis=1)
        np.testing.assert_allclose(scores[:, index], by_hand, atol=1e-4)


def test_another_resolution_changes_the_position_table_alone():
    low = {w.path: tuple(w.shape) for w in PaliModel(small()).weights}
    vision = VitConfig(size="", image_size=32)
    high = {w.path: tuple(w.shape) for w in PaliModel(small(vision=vision)).weights}
    differing = {path for path in low if low[path] != high[path]}
    assert set(low) == set(high) and len(differing) == 1
    assert "positions" in next(iter(differing))


def test_tokens_of_an_image_at_the_published_resolutions():
    config = resolve(PaliConfig("pali_17b")).vision
    counts = [vit_config.num_tokens(config, size) for size in (224, 490, 588)]
    assert counts == [256, 1225, 1764]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "pali_4b"}, "size is 'pali_4b'"),
        ({"position_bias": "none"}, "position_bias is 'none'"),
        ({"vision": VitConfig(size="", pool="map")}, "vision.pool is 'map'"),
    ],
)
def test_configs_that_cannot_work_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        resolve(dataclasses.replace(PaliConfig("debug"), **changes))


def test_the_projection_has_a_bias_unless_told_otherwise():
    paths = [{w.path for w in PaliModel(small(projection_bias=b)).weights} for b in (True, False)]
    assert paths[0] - paths[1] == {"projection/bias"}
