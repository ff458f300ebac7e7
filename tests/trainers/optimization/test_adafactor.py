"""Adafactor against a float64 reference, what it stores, and what each of its fields changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.optimization.adafactor import Adafactor, factored_axes
from trainers.optimization.config import OptimizerConfig, ScheduleConfig
from trainers.optimization.optimizers import build_optimizers

SHAPES = {"matrix": (6, 5), "kernel": (5, 2, 4), "narrow": (9, 2), "vector": (7,)}


def _rms(values):
    return np.sqrt(np.mean(values**2))


def _reference(value, gradients, rate, *, exponent=0.8, factored=None, clip=1.0, scaled=True):
    """Every step written out; `factored`: the second largest and the largest axis."""
    value = value.astype(np.float64)
    whole, small, large = 0.0, 0.0, 0.0
    for count, gradient in enumerate(gradients, start=1):
        beta = 1 - count**-exponent
        squares = gradient.astype(np.float64) ** 2 + 1e-30
        if factored is None:
            whole = beta * whole + (1 - beta) * squares
            moment = whole
        else:
            second, largest = factored
            small = beta * small + (1 - beta) * squares.mean(largest, keepdims=True)
            large = beta * large + (1 - beta) * squares.mean(second, keepdims=True)
            moment = small * large / small.mean(second, keepdims=True)
        update = gradient / np.sqrt(moment)
        if clip:
            update /= max(1.0, _rms(update) / clip)
        value = value - rate * (max(_rms(value), 1e-3) if scaled else 1.0) * update
    return value


def _draws(seed=0):
    draw = np.random.default_rng(seed)
    values = {name: 0.1 * draw.normal(size=shape) for name, shape in SHAPES.items()}
    gradients = {
        name: [draw.normal(size=shape) * 10.0**power for power in (-2, 1, -1)]
        for name, shape in SHAPES.items()
    }
    return values, gradients


@pytest.mark.parametrize(
    "options",
    [{}, {"decay_exponent": 0.5}, {"clip_threshold": 0.3}, {"scale_by_parameter": False}],
    ids=["default", "exponent", "clip", "unscaled"],
)
def test_equals_the_reference(options):
    values, gradients = _draws()
    variables = [keras.Variable(values[name].astype(np.float32), name=name) for name in SHAPES]
    optimizer = Adafactor(0.01, min_factored_size=4, **options)
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def step(pieces):
        optimizer.apply(pieces, variables)

    for index in range(3):
        step([tf.constant(gradients[name][index], tf.float32) for name in SHAPES])
    names = {"decay_exponent": "exponent", "clip_threshold": "clip", "scale_by_parameter": "scaled"}
    extra = {names[name]: value for name, value in options.items()}
    factored = {"matrix": (1, 0), "kernel": (2, 0)}
    for name, variable in zip(SHAPES, variables, strict=True):
        expected = _reference(
            values[name], gradients[name], 0.01, factored=factored.get(name), **extra
        )
        np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=1e-7)


def test_factors_only_what_is_large_and_stores_the_sums_of_the_sides():
    assert factored_axes((300, 128), 128) == (1, 0)
    assert factored_axes((300, 127), 128) is None
    assert factored_axes((16, 200, 300), 128) == (1, 2)
    assert factored_axes((300,), 128) is None
    variable = keras.Variable(np.ones([300, 128], np.float32), name="kernel")
    optimizer = Adafactor(0.01)
    optimizer.build([variable])
    stored = sorted(tuple(v.shape) for v in optimizer.variables if len(v.shape))
    assert stored == [(128,), (300,)]


def test_fields_of_the_config_reach_it():
    values, gradients = _draws()
    variable = keras.Variable(values["matrix"].astype(np.float32), name="matrix")
    config = OptimizerConfig(
        kind="adafactor",
        schedule=ScheduleConfig(learning_rate=0.02),
        decay_exponent=0.6,
        min_factored_size=5,
        clip_threshold=0.5,
        scale_by_parameter=False,
    )
    step = tf.Variable(0, dtype=tf.int64)
    optimizer = build_optimizers({"main": config}, {"main": [variable]}, step=step, train_steps=3)
    for gradient in gradients["matrix"]:
        optimizer["main"].apply({variable.path: tf.constant(gradient, tf.float32)})
    expected = _reference(
        values["matrix"],
        gradients["matrix"],
        0.02,
        exponent=0.6,
        clip=0.5,
        scaled=False,
        factored=(1, 0),
    )
    np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5)
