"""Learning rates at hand-computed steps."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from trainers import registry
from trainers.optimization.config import ScheduleConfig
from trainers.optimization.schedules import build_schedule


def _rates(config: ScheduleConfig, steps, train_steps: int = 1000) -> np.ndarray:
    schedule = build_schedule(config, train_steps)
    return np.array([float(schedule(tf.constant(step, tf.int64))) for step in steps])


@pytest.mark.parametrize(
    ("preset", "points"),
    [
        (
            "vatt_reference_code",
            {
                0: 0.0,
                1: 2e-8,
                2500: 5e-5,
                5000: 1e-4,
                128_750: 9.267767e-5,
                252_500: 7.5e-5,
                376_250: 5.732233e-5,
                500_000: 5e-5,
                500_001: 5e-5,
            },
        ),
        ("vatt_paper", {0: 0.0, 5000: 5e-5, 10_000: 1e-4, 255_000: 8.535534e-5, 500_000: 5e-5}),
        (
            "vatt_finetune_video",
            {
                900: 0.0018,
                1250: 0.0025,
                2500: 0.005,
                51_250: 0.0025,
                75_625: 7.322330e-4,
                100_000: 0.0,
                10**7: 0.0,
            },
        ),
        (
            "imp_small",
            {0: 1e-6, 5_000: 4.005e-4, 10_000: 8e-4, 105_000: 4e-4, 200_000: 0.0, 300_000: 0.0},
        ),
        (
            "imp_base",
            {
                0: 2e-5,
                1_000: 1.25e-5,
                2_000: 5e-6,
                14_500: 5.025e-4,
                27_000: 1e-3,
                264_500: 5.005e-4,
                500_000: 1.0437e-6,
                502_000: 1e-6,
            },
        ),
        (
            "imp_large",
            {
                0: 1e-5,
                5_000: 1e-6,
                55_000: 5e-4,
                280_000: 2.505e-4,
                500_000: 1.152e-6,
                505_000: 1e-6,
            },
        ),
        (
            "pali_3b",
            {0: 0.0, 500: 0.005, 1000: 0.01, 4000: 0.005, 100_000: 0.001, 390_625: 5.0596443e-4},
        ),
        ("pali_17b", {500: 0.0025, 1000: 0.005, 390_625: 2.5298221e-4}),
        (
            "grounding_coco",
            {0: 1e-3, 25_859: 1e-3, 25_860: 5e-4, 38_789: 5e-4, 38_790: 2.5e-4, 51_720: 2.5e-4},
        ),
        ("vatt_finetune_audio", {2500: 0.1, 5000: 0.2, 27_500: 0.1, 50_000: 0.0}),
    ],
)
def test_published_recipes(preset, points):
    rates = _rates(ScheduleConfig.from_preset(preset), points)
    np.testing.assert_allclose(rates, list(points.values()), rtol=2e-6, atol=1e-10)


def test_other_kinds_at_hand_computed_steps():
    common = {"learning_rate": 0.8, "warmup_steps": 100}
    constant = ScheduleConfig(kind="constant", **common)
    np.testing.assert_allclose(_rates(constant, [0, 50, 100, 9999]), [0, 0.4, 0.8, 0.8], rtol=1e-6)
    linear = ScheduleConfig(kind="linear", final_learning_rate=0.2, **common)
    np.testing.assert_allclose(
        _rates(linear, [50, 100, 550, 1000, 2000]), [0.4, 0.8, 0.5, 0.2, 0.2], rtol=1e-6
    )
    rsqrt = ScheduleConfig(kind="rsqrt", **common)
    np.testing.assert_allclose(
        _rates(rsqrt, [50, 100, 400, 10_000]), [0.4, 0.8, 0.4, 0.08], rtol=1e-6
    )
    steps = ScheduleConfig(kind="steps", milestones=[200, 300], milestone_factor=0.25, **common)
    np.testing.assert_allclose(
        _rates(steps, [50, 100, 199, 200, 299, 300, 9999]),
        [0.4, 0.8, 0.8, 0.2, 0.2, 0.05, 0.05],
        rtol=1e-6,
    )
    no_warmup = ScheduleConfig(kind="half_cosine", learning_rate=1.0)
    np.testing.assert_allclose(
        _rates(no_warmup, [0, 500, 1000]), [1.0, 0.5, 0.0], atol=1e-6, rtol=1e-4
    )


def test_total_steps_follow_the_run_unless_given():
    config = ScheduleConfig(kind="linear", learning_rate=1.0)
    assert math.isclose(_rates(config, [100], train_steps=200)[0], 0.5, rel_tol=1e-6)
    fixed = dataclasses.replace(config, total_steps=400)
    assert math.isclose(_rates(fixed, [100], train_steps=200)[0], 0.75, rel_tol=1e-6)
    late = dataclasses.replace(config, prewarm_steps=100, prewarm_start_learning_rate=1.0)
    # Counted from the end of the pre-warm: half-way of the 100 steps that are left.
    np.testing.assert_allclose(_rates(late, [0, 50, 150], 200), [1.0, 0.5, 0.5], rtol=1e-6)


def test_recipes_say_whose_they_are_and_no_two_share_a_name():
    count = 0
    for name, system in registry.SYSTEMS.items():
        table = registry.resolve(system.presets["schedule"]) if system.presets else {}
        assert all(recipe.startswith(f"{name}_") for recipe in table)
        count += len(table)
    assert len(registry.presets("schedule")) == count == 13


def test_every_kind_compiles_and_stays_finite():
    for preset in registry.presets("schedule"):
        schedule = build_schedule(ScheduleConfig.from_preset(preset), 10)
        compiled = tf.function(schedule, jit_compile=True)
        for step in (0, 10, 500_000, 2**40):
            assert math.isfinite(float(compiled(tf.constant(step, tf.int64))))
