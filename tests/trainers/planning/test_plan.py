"""Plans from shapes alone: against real models and optimizers, by hand, at published sizes."""

import dataclasses
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

import mmstack
from mm_models.errors import UserError
from mm_models.imp import config as imp_config
from mm_models.imp.model import ImpModel
from mm_models.vatt.config import named_config
from mm_models.vatt.model import VattModel
from tests.mm_models.text.pieces import write_model
from trainers import runs
from trainers.config.loading import load_config
from trainers.optimization.config import KIND_FIELDS, OptimizerConfig
from trainers.optimization.optimizers import build_optimizers
from trainers.planning import sharding
from trainers.planning.memory import state_bytes
from trainers.planning.weights import Weight, all_weights, state_of

CONFIGS = pathlib.Path(__file__).parents[3] / "configs" / "pali"
SMALL = ["task.model.size=debug", "task.model.language.vocabulary_size=420"]
DEEP = ["task.model.vision.depth=3", "task.model.language.num_decoder_layers=4"]


def load(name="pretrain_17b", *overrides):
    return load_config([str(CONFIGS / f"{name}.yaml")], list(overrides))


def state(config):
    return state_of(config, all_weights(config, runs.build_task(config)))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small experiment, its planned weights, its task and the model itself."""
    pieces = write_model(tmp_path_factory.mktemp("pieces") / "pieces.model")
    config = load("pretrain_17b", *SMALL, *DEEP, "trainer.ema.decay=0.9")
    for stream in config.streams.values():
        stream.input.prompted.vocabulary = pieces
    task = runs.build_task(config)
    return config, all_weights(config, task), task, runs.build_model(task, config)


@pytest.mark.parametrize("kind", sorted(KIND_FIELDS))
def test_bytes_are_those_of_the_model_and_its_optimizer(built, kind):
    config, weights, task, model = built
    old = config.trainer.optimizers["main"]
    optimizer = OptimizerConfig(kind=kind, schedule=old.schedule, groups=old.groups)
    optimizer.momentum = 0.9 if kind == "sgd" else 0.0
    optimizer.min_factored_size = 16
    trainer = dataclasses.replace(config.trainer, optimizers={"main": optimizer})
    config = dataclasses.replace(config, trainer=trainer)
    assert {one.path: one.shape for one in weights} == {
        weight.path: tuple(weight.shape) for weight in model.weights
    }
    step = tf.Variable(0, dtype=tf.int64)
    groups = task.variable_groups(model)
    real = build_optimizers(trainer.optimizers, groups, step=step, train_steps=10)["main"]
    slots = [variable for group in real.groups for variable in group.optimizer.variables]
    trained = [variable for group in real.groups for variable in group.variables]
    held = state_bytes(state_of(config, weights))
    assert held.weights == _bytes(model.weights)
    assert held.slots == _bytes(slots)
    assert held.gradients == _bytes(trained) == held.averages
    assert len(runs.build_averages(task, model, config).values) == len(trained)


def _bytes(variables):
    return sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)


def test_bytes_by_hand():
    weights = [
        Weight("vision/patches/projection/kernel", (192, 16), "main"),
        Weight("language/encoder/block_0/mlp/wi_0/kernel", (256, 512), "main"),
        Weight("language/encoder/block_0/mlp/wo/kernel", (512, 256), "main"),
        Weight("language/encoder/block_0/mlp_norm/scale", (256,), "main"),
        Weight("language/token_embedding/embeddings", (1024, 256), "main"),
    ]
    config = load()
    planned = state_of(config, weights)
    one = state_bytes(planned)
    assert one.weights == 4 * (192 * 16 + 2 * 256 * 512 + 256 + 1024 * 256)
    assert one.gradients == one.weights - 4 * 192 * 16
    # Sides of three matrices, the whole of the scale, and the counter of updates.
    assert one.slots == 4 * (2 * (256 + 512) + 256 + (1024 + 256)) + 8
    assert one.averages == 0
    four = state_bytes(planned, 4)
    assert four.weights == 4 * (192 * 16 + 2 * 256 * 512 // 4 + 256 + 1024 * 256 // 4)
    # The sides along the split axis are split, those across it are not.
    assert four.slots == 4 * (2 * (256 + 512 // 4) + 256 + (1024 // 4 + 256)) + 8
    with pytest.raises(UserError, match=r"1024 entries on axis 0 \(vocabulary\)"):
        state_bytes(state_of(config, weights[:1] + weights[4:]), 3)


# Of all weights, and of those that are trained.
COUNTS = {
    "pretrain_3b": (3_074_058_624, 1_842_772_352),
    "pretrain_15b": (14_770_649_472, 1_842_772_352),
    "pretrain_17b": (16_733_819_136, 3_805_417_728),
    # 42 x 42 rows of positions in the place of 16 x 16.
    "high_resolution_17b": (16_733_819_136 + (42 * 42 - 16 * 16) * 1792, 0),
}


@pytest.mark.parametrize(
    "name",
    [
        "pretrain_3b",
        "pretrain_17b",
        pytest.param("pretrain_15b", marks=pytest.mark.slow),
        pytest.param("high_resolution_17b", marks=pytest.mark.slow),
    ],
)
def test_published_sizes_are_split_evenly(name):
    config = load(name)
    planned = state(config)
    total, frozen = COUNTS[name]
    assert sum(weight.size for weight in planned.weights) == total
    trained = sum(weight.size for weight in planned.weights if weight.path in planned.slots)
    assert trained == total - frozen
    header = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    stated = [int(number.replace(",", "")) for number in re.findall(r"\d+(?:,\d{3}){2,}", header)]
    assert stated == [total, trained][: len(stated)] and stated
    model = runs.build_task(config).config.model
    for parts in (2, 4, 8, 16):
        sharding.check_heads(model, parts)
        held = state_bytes(planned, parts)
        assert held.weights < 4 * total / parts * 1.03
    with pytest.raises(UserError, match="vision.num_heads is 16, which model_parallel=32"):
        sharding.check_heads(model, 32)


def test_every_weight_has_a_rule():
    with tf.Graph().as_default():
        imp = imp_config.ImpConfig(size="debug", num_experts=2, classifiers={"digits": 10})
        models = [VattModel(named_config(name)) for name in ("debug", "unified_debug")]
        models.append(ImpModel(imp))
    for model in models:
        for weight in model.weights:
            assert sharding.rule_of(weight.path).kind
    with pytest.raises(UserError, match="no rule says how to split the weight strange/kernel"):
        sharding.rule_of("strange/kernel")


def plan(capsys, *flags, name="pretrain_17b"):
    command = ["plan", f"--config_file={CONFIGS / name}.yaml"]
    code = mmstack.main([*command, *flags])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def rows(text):
    cells = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines())
    return {first: rest for first, *rest in cells}


@pytest.mark.slow
def test_the_command_counts_a_step_and_says_where_it_fits(capsys):
    small = [*(f"--set={one}" for one in SMALL), "--set=task.model.vision.image_size=32"]
    small += [f"--set=streams.images.input.video.{edge}=32" for edge in ("height", "width")]
    small += [f"--set=streams.{name}.input.batch_size=16" for name in ("images", "text")]
    small.append("--set=streams.text.weight=0")
    code, text = plan(capsys, *small, "--num_devices=4", "--model_parallel=2")
    assert code == 0, text
    found = rows(text)
    assert found["copies of the model"] == ["4", "2"]
    assert found["examples at once"] == ["4", "8"]
    kept, again = (float(one) for one in found["activations kept, MiB"])
    assert 0 < again < kept
    less, more = (float(one) for one in found["GFLOP, forward and backward"])
    assert less < more
    assert found["fits"] == ["in 16, 32, 95"] * 2


def test_mistakes_are_one_sentence(capsys):
    for flags, words in (
        (["--num_devices=0"], "--num_devices is 0"),
        (["--num_devices=6", "--model_parallel=4"], "--model_parallel=4 does not divide"),
        (["--num_devices=4096", "--model_parallel=64"], "num_heads is 16"),
        (
            ["--num_devices=3", "--model_parallel=1"],
            "streams.images.input.batch_size is 4096, which 3 copies",
        ),
        (["--device_memory_gib=big"], "--device_memory_gib is 'big'"),
    ):
        code, text = plan(capsys, *flags)
        assert code == 2 and words in text, text


def test_a_weight_that_no_optimizer_trains_is_kept_alone():
    config = load()
    weights = [
        Weight("head/norm/moving_mean", (8,), ""),
        Weight("vision/final_norm/gamma", (8,), "main"),
        Weight("projection/kernel", (8, 8), "main"),
    ]
    held = state_bytes(state_of(config, weights))
    assert (held.weights, held.gradients) == (4 * 80, 4 * 64)
    assert dataclasses.astuple(held)[3] == 0
