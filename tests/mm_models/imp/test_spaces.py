"""Common spaces and temperatures."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.imp.config import SpaceConfig, TemperatureConfig
from mm_models.imp.spaces import Spaces, Temperatures
from tests import batteries
from tests.mm_models.imp.small import MODALITIES


def make_spaces(kind="disjoint", modalities=("video", "text"), dtype="float32") -> Spaces:
    config = SpaceConfig(kind=kind, dim=6, hidden_dim=7)
    layer = Spaces(config, modalities, 5, name="spaces", dtype=dtype)
    layer.build()
    return layer


def temperatures(modalities=("video", "text"), **fields) -> Temperatures:
    config = TemperatureConfig(**({"initial": 0.2} | fields))
    layer = Temperatures(config, modalities, name="temperatures")
    layer.build()
    return layer


def test_maps_equal_the_float64_form():
    layer = make_spaces()
    batteries.shake(layer)
    rows = np.random.default_rng(1).normal(size=(3, 2, 5))
    outputs = layer({"video": tf.constant(rows, tf.float32)})
    assert set(outputs) == {"video_to_video", "video_to_text"}
    one = layer.video_to_text
    weights = [np.asarray(w, np.float64) for w in (*one.hidden.weights, *one.dense.weights)]
    hidden = rows @ weights[0] + weights[1]
    cubic = hidden + 0.044715 * hidden**3
    hidden = 0.5 * hidden * (1 + np.tanh(math.sqrt(2 / math.pi) * cubic))
    dense = hidden @ weights[2] + weights[3]
    mean, variance = dense.mean(-1, keepdims=True), dense.var(-1, keepdims=True)
    gamma, beta = (np.asarray(w, np.float64) for w in one.layer_norm.weights)
    expected = (dense - mean) / np.sqrt(variance + 1e-6) * gamma + beta
    np.testing.assert_allclose(outputs["video_to_text"], expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["disjoint", "joint"])
def test_battery_and_names(kind):
    rows = {"video": tf.random.stateless_normal([3, 5], (1, 2)), "text": tf.ones([3, 5])}
    rows["text"] = tf.random.stateless_normal([3, 5], (1, 3))
    layer = make_spaces(kind)
    names = {name for modality in rows for name in layer.names_of(modality)}
    assert len(names) == (4 if kind == "disjoint" else 2)
    outputs = layer(rows)
    assert set(outputs) == names and set(layer.pair("video", "text")) <= names
    expected = ("text_to_video", "video_to_text")
    assert layer.pair("text", "video") == (
        expected if kind == "disjoint" else ("text_joint", "video_joint")
    )
    batteries.check_gradients(layer, layer, rows)
    batteries.check_compiles(layer, rows)
    batteries.check_serialises(layer, lambda one: one(rows))
    mixed = make_spaces(kind, dtype="mixed_bfloat16")
    assert all(value.dtype == tf.float32 for value in mixed(rows).values())
    with pytest.raises(UserError, match="has no audio"):
        layer.pair("video", "audio")


def test_every_unordered_pair_has_one_temperature():
    layer = temperatures(MODALITIES)
    assert len(layer.weights) == len(layer.pairs) == 10
    layer.video_text.assign(0.3)
    assert (
        float(layer.value("text", "video"))
        == float(layer.value("video", "text"))
        == pytest.approx(0.3)
    )
    assert float(layer.value("text", "text")) == pytest.approx(0.2)
    with pytest.raises(UserError, match="smell and text have no temperature"):
        layer.value("smell", "text")


def gradient_of(layer) -> float:
    with tf.GradientTape() as tape:
        value = layer.value("video", "text")
    return float(tape.gradient(value, layer.video_text.value))


def test_clipped_temperatures_can_rise_again_and_those_of_the_released_code_cannot():
    layer = temperatures(floor=1e-2)
    for stored, seen in ((0.5, 0.5), (1e-2, 1e-2), (1e-4, 1e-2), (-3.0, 1e-2)):
        layer.video_text.assign(stored)
        assert float(layer.value("video", "text")) == pytest.approx(seen, rel=1e-5)
        assert gradient_of(layer) == 1.0
    layer = temperatures(kind="relu")
    for stored, seen, gradient in ((0.5, 0.500001, 1.0), (-3.0, 1e-6, 0.0)):
        layer.video_text.assign(stored)
        assert float(layer.value("video", "text")) == pytest.approx(seen, rel=1e-6)
        assert gradient_of(layer) == gradient


def test_temperatures_are_learned_or_not_and_survive_serialisation():
    assert len(temperatures().trainable_weights) == 3
    assert not temperatures(learned=False).trainable_weights
    layer = temperatures()
    layer.video_text.assign(0.7)
    batteries.check_serialises(layer, built_value)


def built_value(layer: Temperatures) -> tf.Tensor:
    if not layer.built:
        layer.build()
    return layer.value("video", "text")
