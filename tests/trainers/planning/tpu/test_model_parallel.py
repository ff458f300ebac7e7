"""Steps that are split over devices: equal to those that are not, and smaller on each device."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("libtpu")

from mm_models.errors import UserError
from mm_models.layers import logical_axes
from mm_models.layers.transformer.mlp import Mlp
from tests.trainers.planning.tpu import steps
from tests.trainers.planning.tpu.virtual_devices import run_on_cpu
from trainers.config.loading import load_config
from trainers.model_parallel import internals as annotations
from trainers.model_parallel.splitting import split_activations, split_like, split_weights
from trainers.optimization.config import OptimizerConfig
from trainers.optimization.optimizers import build_optimizers
from trainers.planning.tpu.internals import Partitioning, aliased_arguments, compile_for
from trainers.planning.tpu.lowering.program import lower, partitioning_of

CONFIGS = pathlib.Path(__file__).parents[4] / "configs"


def load(system, *overrides):
    return load_config([str(CONFIGS / system / "digits_debug.yaml")], list(overrides))


class _Half(keras.Model):
    """The part of a block that is split, between vectors that are whole."""

    def __init__(self):
        super().__init__()
        self.mlp = Mlp(8, name="mlp")

    def build(self, input_shape):
        self.mlp.build(input_shape)
        self.built = True


def _learn(num_parts, rows):
    """Axis of each variable, and the loss and all variables after one step, on so many devices."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    with split_weights(num_parts):
        model = _Half()
        model.build((None, 4))
    variables = {id(each.value.handle): each for each in model.trainable_variables}

    @tf.function(jit_compile=True, autograph=False)
    def step(inputs):
        with tf.GradientTape() as tape, split_activations(num_parts):
            loss = tf.reduce_sum(model.mlp(inputs) ** 2)
        weights = [each.value for each in variables.values()]
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(0.1 * gradient)
        return loss

    spec = tf.TensorSpec(rows.shape)
    with annotations.annotated_reads():
        handles = step.get_concrete_function(spec).captured_inputs
    hlo = step.experimental_get_compiler_ir(spec)(stage="hlo_serialized", platform_name="CPU")
    given = [variables[id(handle)] for handle in handles]
    found = [annotations.annotated_axis(each.value) for each in given]
    axes = {index: axis for index, axis in enumerate(found, 1) if axis is not None}
    updates = aliased_arguments(hlo)
    split = {result: axes[argument] for result, argument in updates.items() if argument in axes}
    arguments = [rows, *(each.numpy() for each in given)]
    (results,) = run_on_cpu(hlo, [arguments], Partitioning(1, num_parts, axes, split))
    names = [each.path.partition("mlp/")[2] for each in given]
    after = {names[argument - 1]: results[result] for result, argument in updates.items()}
    return dict(zip(names, found, strict=True)), {"loss": results[0]} | after


def test_a_split_layer_learns_what_a_whole_one_learns():
    rows = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    axes, whole = _learn(1, rows)
    assert set(axes.values()) == {None}
    axes, split = _learn(2, rows)
    assert axes == {"wi/kernel": 1, "wi/bias": 0, "wo/kernel": 0, "wo/bias": None}
    assert split.keys() == whole.keys() and len(whole) == 5
    for name, value in whole.items():
        np.testing.assert_allclose(split[name], value, 1e-5, 1e-6, err_msg=name)


def _axes(assembly):
    return {
        name: annotations.annotated_axis(variable) for name, variable in assembly.named_variables()
    }


def test_slots_and_averages_go_with_their_weights():
    config = load(
        "pali",
        "trainer.ema.decay=0.9",
        "trainer.optimizers.main.min_factored_size=16",
    )
    axes = _axes(steps.assembly_of(config, partitions=2))
    block = "language/encoder/block_0"
    assert axes[f"{block}/attention/q/kernel"] == 1
    assert axes[f"average/{block}/attention/q/kernel"] == 1
    assert axes["language/token_embedding/embeddings"] == 0
    assert axes[f"{block}/mlp_norm/scale"] is axes["step"] is None
    slot = "main: adafactor/language_encoder_block_0"
    # wi_0 is [16, 24], split on 1: its rows lack that axis. wo is [24, 16], split on 0.
    assert axes[f"{slot}_mlp_wi_0_kernel_rows"] is None
    assert axes[f"{slot}_mlp_wi_0_kernel_columns"] == 0
    assert axes[f"{slot}_mlp_wo_kernel_rows"] is None
    assert axes[f"{slot}_mlp_wo_kernel_columns"] == 0
    assert axes[f"{slot}_mlp_norm_scale_second_moment"] is None


@pytest.mark.parametrize(("kind", "slots"), [("adamw", 2), ("lamb", 2), ("sgd", 1)])
def test_whole_moments_are_split_as_their_weight(kind, slots):
    with split_weights(2):
        model = _Half()
        model.build((None, 4))
    configs = {"main": OptimizerConfig(kind=kind, momentum=0.9 if kind == "sgd" else 0.0)}
    weights = {"main": model.trainable_variables}
    step = tf.Variable(0, dtype=tf.int64)
    with split_like(weights, configs, 2):
        built = build_optimizers(configs, weights, step=step, train_steps=1)["main"]
    moments = [
        annotations.annotated_axis(one.value)
        for one in built.groups[0].optimizer.variables
        if one.path.endswith("mlp_wi_kernel_momentum")
        or one.path.endswith("mlp_wi_kernel_velocity")
    ]
    assert moments == [1] * slots


def test_layers_say_nothing_where_nobody_asks():
    values = tf.ones([2, 4])
    assert logical_axes.split_by("mlp", values, 1) is values
    asked = []
    with logical_axes.placing(lambda tensor, kind, axis: asked.append((kind, axis)) or tensor):
        logical_axes.whole(logical_axes.split_by("mlp", values, 1))
    assert asked == [("mlp", 1), (None, None)]
    assert logical_axes.whole(values) is values


def test_what_cannot_be_split_is_one_sentence():
    for number, words in (
        (4, "task.model.vision.num_heads is 2, which model_parallel=4 does not divide"),
        (2, r"the weight vision/stack/block_0/mlp/wi/kernel has 31 entries on axis 1 \(mlp\)"),
    ):
        with pytest.raises(UserError, match=words):
            steps.assembly_of(load("pali", "task.model.vision.mlp_dim=31"), partitions=number)


IMP_ALONE = tuple(
    f"{kind}.{name}=null"
    for kind in ("streams", "task.objectives")
    for name in ("stills", "sounds")
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "stream", "overrides"),
    [
        ("pali", "captions", ()),
        ("vatt", "clips", ()),
        ("imp", "clips", IMP_ALONE),
    ],
)
def test_a_step_over_two_devices_is_the_step(system, stream, overrides):
    """Outputs and every variable: TensorFlow's own step, one device, two devices."""
    config = load(system, *overrides)
    ours = steps.by_tensorflow(config, stream, 4)
    (one,) = steps.by_program(config, stream, 4)
    (two,) = steps.by_program(config, stream, 4, partitions=2)
    steps.check_equal(one, ours)
    steps.check_equal(two, one)


@pytest.mark.slow
@pytest.mark.parametrize(("system", "stream"), [("pali", "captions"), ("vatt", "clips")])
def test_two_replicas_learn_from_the_joint_batch(system, stream):
    """Global negatives, joint batch norm and the sums of gradients, without randomness."""
    config = load(system)
    (one,) = steps.by_program(config, stream, 4)
    first, second = steps.by_program(config, stream, 4, replicas=2)
    steps.check_equal(first, second, 0, 0)
    steps.check_equal(first, one)


# Widths and vocabulary of PaLI-3B, with one block in each stack.
NARROW = (
    "task.model.vision.depth=1",
    "task.model.language.num_encoder_layers=1",
    "task.model.language.num_decoder_layers=1",
    "task.loss_chunks=1",
    "streams.text=null",
)


@pytest.mark.slow
def test_each_of_four_chips_holds_a_quarter():
    config = load_config([str(CONFIGS / "pali" / "pretrain_3b.yaml")], list(NARROW))
    found = {}
    for parts in (1, 4):
        assembly = steps.assembly_of(config, partitions=parts)
        program = lower(assembly, ("images",), {"images": 4})
        found[parts] = compile_for("v5e:2x2", program.hlo, partitioning_of(program))
    assert 3.5 < found[1].argument_bytes / found[4].argument_bytes <= 4.0
    assert 3.5 < found[1].result_bytes / found[4].result_bytes <= 4.0
    assert found[4].total_bytes < found[1].total_bytes / 2
