"""A frozen vision transformer: no slots and averages for it; freed in a run that follows."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.mm_models.text.pieces import write_model
from tests.trainers.tasks.pali.pali_parts import parts_of
from tests.trainers.tasks.pali.test_pali import make_batch, make_task
from trainers import initialization, runs
from trainers.config.loading import load_config
from trainers.config.schema import EmaConfig
from trainers.loop import checkpoints
from trainers.loop.state import RunState
from trainers.loop.steps.step import TrainStep
from trainers.optimization.averages import Averages
from trainers.optimization.optimizers import build_optimizers

CONFIGS = pathlib.Path(__file__).parents[4] / "configs" / "pali"


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pieces") / "pieces.model")


def checkpoint_of(parts):
    state = RunState({}, "", 0)
    return checkpoints.build_checkpoint(
        parts.model, parts.optimizers, parts.averages, parts.step, state
    )


def train(parts, steps):
    step = TrainStep("pictures", parts, accumulation_steps=1)
    batch = {name: tf.constant(value) for name, value in make_batch().items()}
    for _ in range(steps):
        step(batch)


def values_of(parts):
    slots = parts.optimizers["main"].groups[0].optimizer.variables
    return [np.array(one) for one in (*parts.model.variables, *slots, *parts.averages.values)]


def trained_paths(model):
    return [v.path for v in model.trainable_variables if not v.path.startswith("vision/")]


@pytest.mark.parametrize(("kind", "slots_each"), [("adamw", 2), ("adafactor", None)])
def test_frozen_weights_have_neither_slots_nor_averages(vocabulary, kind, slots_each):
    parts = parts_of(make_task(vocabulary), kind)
    trained = trained_paths(parts.model)
    slots = [v for group in parts.optimizers["main"].groups for v in group.optimizer.variables]
    names = [v.path for v in slots]
    assert not [name for name in names if "vision" in name]
    assert sum("iteration" in name for name in names) == 1
    if slots_each:
        assert len(names) == 1 + slots_each * len(trained)
    else:
        # Two sides of every matrix of at least 8 x 8, a whole moment of the rest.
        shapes = [tuple(v.shape) for v in parts.model.trainable_variables if v.path in trained]
        expected = sum(2 if len(shape) > 1 and min(shape) >= 8 else 1 for shape in shapes)
        assert len(names) == 1 + expected
    assert len(parts.averages.values) == len(trained)
    free = parts_of(make_task(vocabulary), kind, groups={})
    assert len(free.averages.values) == len(free.model.trainable_variables)


def test_frozen_weights_stay_bit_by_bit_and_a_resumed_run_is_the_whole_one(vocabulary, tmp_path):
    task = make_task(vocabulary)
    whole = parts_of(task)
    before = {v.path: np.array(v) for v in whole.model.weights}
    train(whole, 2)
    path = checkpoint_of(whole).write(str(tmp_path / "ckpt"))
    stored = {name for name, _ in tf.train.list_variables(path)}
    assert not [name for name in stored if name.startswith("optimizers") and "vision" in name]
    assert sum(name.startswith("ema/") for name in stored) == len(trained_paths(whole.model))
    train(whole, 2)
    for variable in whole.model.weights:
        same = np.array(variable).tobytes() == before[variable.path].tobytes()
        assert same == variable.path.startswith("vision/"), variable.path
    resumed = parts_of(task)
    status = checkpoint_of(resumed).read(path)
    status.assert_existing_objects_matched()
    train(resumed, 2)
    for one, other in zip(values_of(whole), values_of(resumed), strict=True):
        assert one.tobytes() == other.tobytes()
    with whole.averages.in_place():
        for variable in whole.model.weights:
            if variable.path.startswith("vision/"):
                assert np.array(variable).tobytes() == before[variable.path].tobytes()


def test_averages_of_frozen_weights_in_older_checkpoints_are_left_out(vocabulary, tmp_path):
    parts = parts_of(make_task(vocabulary))
    model = parts.model
    every = Averages(EmaConfig(decay=0.9), model.trainable_variables)
    for number, value in enumerate(every.values):
        value.assign(tf.fill(value.shape, float(number)))
    path = tf.train.Checkpoint(model=model, ema=every.values).write(str(tmp_path / "old"))
    restored = tf.train.Checkpoint(model=model, ema=parts.averages.saved).read(path)
    restored.assert_existing_objects_matched()
    places = [
        number
        for number, variable in enumerate(model.trainable_variables)
        if not variable.path.startswith("vision/")
    ]
    found = [float(tf.reduce_max(value)) for value in parts.averages.values]
    assert found == places


def test_the_phase_that_follows_takes_everything_and_frees_the_vision_transformer(vocabulary):
    """The two phases of the paper's largest model, in small."""
    small = [
        "task.model.size=debug",
        "task.model.language.vocabulary_size=420",
        *(f"streams.{name}.input.prompted.vocabulary={vocabulary}" for name in ("images", "text")),
    ]
    models, configs = {}, {}
    for name, side in (("pretrain_17b", 16), ("high_resolution_17b", 40)):
        sizes = [f"streams.images.input.video.{edge}={side}" for edge in ("height", "width")]
        overrides = [*small, *sizes, f"task.model.vision.image_size={side}"]
        config = load_config([str(CONFIGS / f"{name}.yaml")], overrides)
        task = runs.build_task(config)
        configs[name] = dataclasses.replace(config, task=task.config)
        models[name] = (task, runs.build_model(task, config))
    low, (task, high) = models["pretrain_17b"][1], models["high_resolution_17b"]
    values = {variable.path: np.array(variable) for variable in low.weights}
    config = configs["high_resolution_17b"]
    start = config.initialize["pretrained"]
    done = initialization.initialize(
        high, initialization.TrainedWeights("ckpt-9", 9, values), start
    )
    assert done.match.resized == {"vision/positions/table": (4, 25)}
    assert not done.match.new and not done.match.left_over
    for variable in high.weights:
        if variable.path not in done.match.resized:
            np.testing.assert_array_equal(np.array(variable), values[variable.path])
    step = tf.Variable(0, dtype=tf.int64)
    for name, frees in (("pretrain_17b", False), ("high_resolution_17b", True)):
        task, model = models[name]
        built = build_optimizers(
            configs[name].trainer.optimizers,
            task.variable_groups(model),
            step=step,
            train_steps=10,
        )
        slots = [v.path for group in built["main"].groups for v in group.optimizer.variables]
        assert any("vision" in path for path in slots) == frees
