"""Named optimizers, parameter groups, clipping and averages, against hand-computed updates."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from trainers.config.schema import EmaConfig
from trainers.optimization.averages import Averages
from trainers.optimization.config import OptimizerConfig, ParameterGroupConfig, ScheduleConfig
from trainers.optimization.optimizers import build_optimizers


def _variables(**values) -> dict[str, keras.Variable]:
    made = {}
    for path, value in values.items():
        with keras.name_scope(path.split("_")[0]):
            made[path] = keras.Variable(np.array(value, np.float32), name=path.split("_")[1])
    return made


def _build(config: OptimizerConfig, variables, step=None):
    step = step if step is not None else tf.Variable(0, dtype=tf.int64)
    built = build_optimizers({"main": config}, {"main": list(variables)}, step=step, train_steps=10)
    return built["main"]


def _sgd(rate: float = 0.1, **kwargs) -> OptimizerConfig:
    return OptimizerConfig(kind="sgd", schedule=ScheduleConfig(learning_rate=rate), **kwargs)


def _apply(optimizer, variables, gradients):
    tensors = {
        v.path: tf.constant(g, tf.float32) for v, g in zip(variables, gradients, strict=True)
    }
    norm = optimizer.apply(tensors)
    return [v.numpy() for v in variables], norm


def test_groups_have_their_own_rate_decay_and_freeze():
    v = _variables(body_kernel=[1.0], body_bias=[1.0], head_kernel=[1.0], head_bias=[1.0])
    groups = {
        "frozen": ParameterGroupConfig(pattern="^head/bias", frozen=True),
        "biases": ParameterGroupConfig(pattern="bias$", weight_decay=False),
        "head": ParameterGroupConfig(pattern="^head/", learning_rate_multiplier=10.0),
    }
    members = list(v.values())
    optimizer = _build(_sgd(weight_decay=0.5, groups=groups), members)
    (kernel, bias, head, frozen), norm = _apply(optimizer, members, [[1.0]] * 4)
    # Decay first: 1 - rate * 0.5, then minus rate * gradient.
    np.testing.assert_allclose(kernel, 1 - 0.1 * 0.5 - 0.1, rtol=1e-6)
    np.testing.assert_allclose(bias, 0.9, rtol=1e-6)
    np.testing.assert_allclose(head, 1 - 0.5 - 1.0, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(frozen, 1.0)
    np.testing.assert_allclose(norm, np.sqrt(3.0), rtol=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "sgd", "lamb"])
def test_only_what_the_pattern_takes_decays_also_inside_groups(kind):
    v = _variables(body_kernel=[1.0], body_bias=[1.0], head_kernel=[1.0], head_bias=[1.0])
    groups = {"head": ParameterGroupConfig(pattern="^head/", learning_rate_multiplier=2.0)}
    members = list(v.values())
    config = OptimizerConfig(
        kind=kind,
        schedule=ScheduleConfig(learning_rate=0.1),
        weight_decay=0.5,
        decay_pattern="kernel$",
        groups=groups,
    )
    values, _ = _apply(_build(config, members), members, [[0.0]] * 4)
    np.testing.assert_allclose(np.ravel(values), [0.95, 1.0, 0.9, 1.0], rtol=1e-6)
    groups["head"].weight_decay = False
    values, _ = _apply(_build(config, members), members, [[0.0]] * 4)
    np.testing.assert_allclose(np.ravel(values), [0.95 * 0.95, 1.0, 0.9, 1.0], rtol=1e-6)


def test_a_decay_pattern_without_variables_is_refused():
    v = _variables(body_kernel=[1.0])
    with pytest.raises(UserError, match="decay_pattern 'kernal' matches no variable"):
        _build(_sgd(weight_decay=0.5, decay_pattern="kernal"), v.values())


def test_rate_follows_the_shared_step():
    v = _variables(body_kernel=[0.0])
    step = tf.Variable(5, dtype=tf.int64)
    config = OptimizerConfig(
        kind="sgd", schedule=ScheduleConfig(kind="linear", learning_rate=1.0, total_steps=10)
    )
    (value,), _ = _apply(_build(config, v.values(), step), list(v.values()), [[1.0]])
    np.testing.assert_allclose(value, -0.5, rtol=1e-6)


def test_clipping_by_the_joint_norm():
    v = _variables(body_kernel=[0.0, 0.0], body_bias=[0.0])
    optimizer = _build(_sgd(1.0, clip_global_norm=1.0), v.values())
    (kernel, bias), norm = _apply(optimizer, list(v.values()), [[2.0, 1.0], [2.0]])
    np.testing.assert_allclose(norm, 3.0, rtol=1e-6)
    np.testing.assert_allclose([*kernel, *bias], [-2 / 3, -1 / 3, -2 / 3], rtol=1e-6)
    _, norm = _apply(optimizer, list(v.values()), [[0.3, 0.0], [0.4]])
    np.testing.assert_allclose(v["body_bias"].numpy(), -2 / 3 - 0.4, rtol=1e-6)


def test_clipping_of_the_backbone_leaves_the_classifier_alone():
    v = _variables(backbone_kernel=[0.0, 0.0], classifier_kernel=[0.0])
    groups = {"backbone": ParameterGroupConfig(pattern="^backbone/", clip_global_norm=0.75)}
    optimizer = _build(_sgd(1.0, groups=groups), v.values())
    (backbone, classifier), _ = _apply(optimizer, list(v.values()), [[3.0, 4.0], [7.0]])
    np.testing.assert_allclose(backbone, [-0.45, -0.6], rtol=1e-6)
    np.testing.assert_allclose(classifier, [-7.0])


def test_a_group_may_be_left_out_of_the_joint_clipping():
    v = _variables(backbone_kernel=[0.0, 0.0], classifier_kernel=[0.0])
    groups = {"classifier": ParameterGroupConfig(pattern="^classifier/", clip_global_norm=-1.0)}
    optimizer = _build(_sgd(1.0, clip_global_norm=1.0, groups=groups), v.values())
    (backbone, classifier), _ = _apply(optimizer, list(v.values()), [[3.0, 4.0], [7.0]])
    np.testing.assert_allclose(backbone, [-0.6, -0.8], rtol=1e-6)
    np.testing.assert_allclose(classifier, [-7.0])


def _adam(value, gradients, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7, decay=0.0):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g * g
        value -= rate * decay * value
        alpha = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        value -= alpha * m / (np.sqrt(v) + epsilon)
    return value


@pytest.mark.parametrize(("kind", "decay"), [("adam", 0.0), ("adamw", 0.1), ("adamw", 0.0)])
def test_adam_against_float64(kind, decay):
    v = _variables(body_kernel=[2.0])
    config = OptimizerConfig(
        kind=kind,
        schedule=ScheduleConfig(learning_rate=0.01),
        weight_decay=decay,
        beta_1=0.8,
        beta_2=0.95,
        epsilon=1e-3,
    )
    optimizer = _build(config, v.values())
    gradients = [1.0, -0.5, 2.0]
    for gradient in gradients:
        (value,), _ = _apply(optimizer, list(v.values()), [[gradient]])
    expected = _adam(2.0, gradients, 0.01, 0.8, 0.95, 1e-3, decay)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "adafactor", "lamb"])
def test_every_kind_learns_a_quadratic_under_xla(kind):
    v = _variables(body_kernel=np.ones([4, 3]), body_bias=[1.0])
    members = list(v.values())
    extra = {"momentum": 0.5, "nesterov": True} if kind == "sgd" else {}
    config = OptimizerConfig(
        kind=kind, schedule=ScheduleConfig(learning_rate=0.05), weight_decay=0.01, **extra
    )
    optimizer = _build(config, members)

    @tf.function(jit_compile=True)
    def step():
        return optimizer.apply({m.path: tf.identity(m.value) for m in members})

    before = sum(float(tf.norm(m.value)) for m in members)
    for _ in range(20):
        step()
    assert sum(float(tf.norm(m.value)) for m in members) < 0.6 * before


def test_named_optimizers_must_be_disjoint_and_known():
    v = _variables(body_kernel=[1.0], head_kernel=[1.0])
    step = tf.Variable(0, dtype=tf.int64)
    both = {"a": OptimizerConfig(), "b": OptimizerConfig()}
    with pytest.raises(UserError, match="body/kernel belongs to the optimizers 'a' and 'b'"):
        build_optimizers(
            both,
            {"a": [v["body_kernel"]], "b": [v["head_kernel"], v["body_kernel"]]},
            step=step,
            train_steps=1,
        )
    with pytest.raises(UserError, match=r"names \['a', 'b'\], but the task trains with \['main'\]"):
        build_optimizers(both, {"main": list(v.values())}, step=step, train_steps=1)
    with pytest.raises(UserError, match="matches no variable"):
        _build(_sgd(groups={"x": ParameterGroupConfig(pattern="^tail/")}), v.values())
    with pytest.raises(UserError, match="every variable is frozen"):
        _build(_sgd(groups={"x": ParameterGroupConfig(pattern=".", frozen=True)}), v.values())


def test_variables_without_a_gradient_keep_their_slots():
    v = _variables(body_kernel=[1.0], head_kernel=[1.0])
    optimizer = _build(OptimizerConfig(), v.values())
    optimizer.apply({v["body_kernel"].path: tf.constant([1.0])})
    assert v["head_kernel"].numpy() == 1.0
    assert v["body_kernel"].numpy() < 1.0
    assert optimizer.apply({}) is None


def test_averages_by_hand_and_put_back_bit_by_bit():
    v = _variables(body_kernel=[1.0])["body_kernel"]
    plain = Averages(EmaConfig(decay=0.9, warmup=False), [v])
    warm = Averages(EmaConfig(decay=0.9), [v])
    for step, value in enumerate([2.0, 4.0]):
        v.assign([value])
        plain.update(tf.constant(step, tf.int64))
        warm.update(tf.constant(step, tf.int64))
    # 0.9 * 1 + 0.1 * 2 = 1.1;  0.9 * 1.1 + 0.1 * 4 = 1.39.
    np.testing.assert_allclose(plain.values[0].numpy(), [1.39], rtol=1e-6)
    # Decays 1/10 and 2/11: 0.1 + 1.8 = 1.9;  1.9 * 2/11 + 4 * 9/11 = 3.618182.
    np.testing.assert_allclose(warm.values[0].numpy(), [3.618182], rtol=1e-6)
    v.assign([np.float32(0.1) + np.float32(1e-8)])
    before = v.numpy().tobytes()
    with plain.in_place():
        np.testing.assert_allclose(v.numpy(), [1.39], rtol=1e-6)
    assert v.numpy().tobytes() == before
