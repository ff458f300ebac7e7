"""The paper-scale experiments: tokens per step, shares of the streams, what decays, sizes."""

import functools
import pathlib
import re

import pytest
import tensorflow as tf

from mm_models.imp.model import ImpModel
from tests.mm_models.imp import parameter_formulas
from trainers.config.loading import load_config
from trainers.loop.alternation.orders import IntervalOrder
from trainers.tasks.imp.task import ImpTask

CONFIGS = pathlib.Path(__file__).parents[4] / "configs" / "imp"
NAMES = ("base", "large", "moe_base", "moe_large")
TOKENS = {
    "image_text": 256 + 16,
    "image_class": 256,
    "video_text": 256 + 16,
    "video_class": 256,
    "video_audio_text": 256 + 64 + 16,
    "audio_class": 64,
}


@functools.cache
def load(name: str):
    return load_config([str(CONFIGS / f"pretrain_{name}.yaml")])


@pytest.mark.parametrize("name", NAMES)
def test_every_stream_has_the_tokens_of_the_released_loader(name):
    config = load(name)
    task = ImpTask(config.task, config.streams)
    assert {stream: task.tokens_per_example(stream) for stream in config.streams} == TOKENS
    pictures = {
        stream: value.input.batch_size * 256
        for stream, value in config.streams.items()
        if value.input.video is not None
    }
    assert set(pictures.values()) == {2_097_152, 524_288}
    assert pictures["video_text"] == pictures["image_text"] == pictures["image_class"]


@pytest.mark.parametrize("name", NAMES)
def test_header_and_file_name_the_same_encoder(name):
    config = load(name)
    header = (CONFIGS / f"pretrain_{name}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    stated = [int(number.replace(",", "")) for number in re.findall(r"\d+(?:,\d{3}){2,}", header)]
    model = config.task.model
    expected = [parameter_formulas.encoder_parameters(model)]
    if model.size.startswith("imp_moe"):
        expected.append(parameter_formulas.active_parameters(model))
    assert stated[: len(expected)] == expected
    assert model.rematerialize


def test_passes_take_the_streams_as_often_as_the_released_loaders():
    config = load("base")
    assert config.trainer.alternation.sampler == "interval"
    order = IntervalOrder({name: value.interval for name, value in config.streams.items()})
    assert list(order.counts(299).items()) == list(
        zip(TOKENS, (120, 120, 10, 24, 10, 15), strict=True)
    )


def test_decay_takes_the_kernels_alone():
    optimizer = load("moe_base").trainer.optimizers["main"]
    assert (optimizer.kind, optimizer.weight_decay, optimizer.clip_global_norm) == (
        "adamw",
        1e-4,
        1.0,
    )
    with tf.Graph().as_default():
        weights = ImpModel(load("moe_base").task.model).trainable_weights
    decaying = {w.path for w in weights if re.search(optimizer.decay_pattern, w.path)}
    # Products of two axes, or three with experts; tables of words and positions do not decay.
    assert all(len(w.shape) >= 2 for w in weights if w.path in decaying)
    spared = [w for w in weights if w.path not in decaying and len(w.shape) >= 2]
    assert spared and all("embeddings" in w.path for w in spared)


@pytest.mark.parametrize(("name", "preset"), [("base", "imp_base"), ("moe_large", "imp_large")])
def test_rates_are_the_released_presets(name, preset):
    assert load(name).trainer.optimizers["main"].schedule.preset == preset
