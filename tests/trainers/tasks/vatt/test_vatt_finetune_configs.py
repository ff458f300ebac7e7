"""The fine-tuning experiments: the paper's recipes, their sizes, and the runs they start from."""

import pathlib
import re

import pytest
import tensorflow as tf

from mm_models.vatt.model import VattModel
from tests import parameter_counts
from trainers import initialization
from trainers.config.loading import load_config
from trainers.runs import build_task

FOLDER = pathlib.Path(__file__).parents[4] / "configs" / "vatt"
NAMES = ("kinetics400", "kinetics600", "kinetics700", "moments", "audioset", "imagenet")
# Towers as published, without the norm of the positions, which the paper does not have.
MEDIUM = 154_343_424 - 2 * 1024
LARGE = 305_498_112 - 2 * 1024
BASE, BASE_AUDIO = 87_446_016 - 2 * 768, 86_078_976 - 2 * 768
# 8 + 20 + 20 rows of positions instead of 8 + 14 + 14.
AT_320 = 12 * 1024


def load(name, *overrides):
    return load_config([str(FOLDER / f"finetune_{name}.yaml")], list(overrides))


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def linear(dim, classes):
    return dim * classes + classes


def source_of(config):
    """The experiment of the run that a fine-tuning experiment starts from."""
    name = pathlib.Path(config.initialize["pretrained"].model_dir).name.removeprefix("vatt_")
    return load_config([str(FOLDER / f"{name}.yaml")])


@pytest.mark.parametrize(
    ("name", "parameters", "tokens"),
    [
        ("kinetics400", MEDIUM + AT_320 + linear(1024, 400), 3201),
        slow("kinetics600", MEDIUM + AT_320 + linear(1024, 600), 3201),
        slow("kinetics700", LARGE + AT_320 + linear(1024, 700), 3201),
        slow("moments", MEDIUM + AT_320 + linear(1024, 339), 3201),
        slow("audioset", BASE_AUDIO + linear(768, 527), 1201),
        slow("imagenet", BASE + (1 + 24 + 24 - 36) * 768 + linear(768, 1000), 577),
    ],
)
def test_sizes_are_those_of_the_header(name, parameters, tokens):
    config = load(name)
    task = build_task(config)
    counts = parameter_counts.count(task.build_model)
    assert (counts.trainable, counts.non_trainable) == (parameters, 0)
    header = (FOLDER / f"finetune_{name}.yaml").read_text(encoding="utf-8")
    assert re.search(r"Expected: ([\d,]+) parameters", header)[1] == f"{parameters:,}"
    assert task.tokens_per_example(next(iter(config.streams))) == tokens


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_only_the_classifier_is_new_after_the_pre_training_run_that_is_named(name):
    config = load(name)
    source = source_of(config)
    with tf.Graph().as_default():
        there = {v.path: tuple(v.shape) for v in VattModel(source.task.model).weights}
        found = initialization.match(
            build_task(config).build_model(), there, config.initialize["pretrained"]
        )
    assert found.new == ["classifier/kernel", "classifier/bias"]
    resized = {path.split("/")[-1]: rows for path, rows in found.resized.items()}
    at_320 = {"vertical_embeddings": (14, 20), "horizontal_embeddings": (14, 20)}
    at_384 = {"vertical_embeddings": (14, 24), "horizontal_embeddings": (14, 24)}
    expected = {"audioset": {}, "imagenet": {"temporal_embeddings": (8, 1)} | at_384}
    assert resized == expected.get(name, at_320)
    assert {path.split("/")[0] for path in found.left_over} >= {"text_tower", "head"}


VIDEO = {
    "rate": 0.005, "warmup": 2_500, "steps": 100_000, "batch": 64, "loss": "softmax",
    "smoothing": 0.1, "dropout": 0.5, "views": 12,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        *((name, VIDEO) for name in NAMES[:4]),
        ("audioset", {
            "rate": 0.2, "warmup": 5_000, "steps": 50_000, "batch": 1024, "loss": "sigmoid",
            "smoothing": 0.0, "dropout": 0.0, "views": 4,
        }),
        ("imagenet", {
            "rate": 0.08, "warmup": 0, "steps": 125_000, "batch": 512, "loss": "softmax",
            "smoothing": 0.1, "dropout": 0.0, "views": 1,
        }),
    ],
)  # fmt: skip
def test_recipes_are_the_papers(name, recipe):
    config = load(name)
    task, optimizer = config.task, config.trainer.optimizers["main"]
    schedule = optimizer.schedule
    inputs = next(iter(config.streams.values())).input
    evaluated = next(iter(config.evaluators.values()))
    assert recipe == {
        "rate": schedule.learning_rate,
        "warmup": schedule.warmup_steps,
        "steps": schedule.total_steps,
        "batch": inputs.batch_size,
        "loss": task.loss,
        "smoothing": task.label_smoothing,
        "dropout": task.head_dropout_rate,
        "views": evaluated.input.num_views,
    }
    assert config.trainer.train_steps == schedule.total_steps
    assert (schedule.kind, schedule.final_learning_rate) == ("half_cosine", 0.0)
    assert (optimizer.kind, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.9, 0.0)
    assert optimizer.groups["backbone"].clip_global_norm == 0.75
    assert optimizer.groups["classifier"].clip_global_norm < 0
    multi_label = name == "audioset"
    assert task.class_balanced == multi_label
    assert (task.mixup_alpha, task.mixup_beta) == ((5.0, 5.0) if multi_label else (0.0, 0.0))
    source = source_of(config).task.model
    assert source.preset == task.model.preset
    tower = getattr(task.model, task.modality)
    assert getattr(source, task.modality).size == tower.size
    resolved = build_task(config).config.model
    assert (resolved.video.drop_token_rate, resolved.audio.drop_token_rate) == (0.0, 0.0)
    assert config.runtime.distribution_strategy == "tpu"


@pytest.mark.slow
def test_the_agnostic_encoder_is_an_override():
    config = load(
        "kinetics400",
        "task.model.variant=agnostic",
        "task.model.shared.size=medium",
        "initialize.pretrained.model_dir=runs/vatt_pretrain_agnostic_medium",
    )
    source = load_config([str(FOLDER / "pretrain_agnostic_medium.yaml")])
    with tf.Graph().as_default():
        there = {v.path: tuple(v.shape) for v in VattModel(source.task.model).weights}
        found = initialization.match(
            build_task(config).build_model(), there, config.initialize["pretrained"]
        )
    assert found.new == ["classifier/kernel", "classifier/bias"]
    assert len(found.resized) == 2
