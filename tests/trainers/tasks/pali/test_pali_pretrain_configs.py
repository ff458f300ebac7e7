"""The paper-scale experiments: shares of the tasks, examples, tokens, rates and what is trained."""

import functools
import pathlib

import pytest

from trainers.config.loading import load_config
from trainers.tasks.pali.task import PaliTask

CONFIGS = pathlib.Path(__file__).parents[4] / "configs" / "pali"
PRETRAIN = ("pretrain_3b", "pretrain_15b", "pretrain_17b")
# Percent of the examples, of 1,566 million.
SHARES = {
    "span_corruption": 6.39,
    "split_cap": 63.86,
    "captioning": 6.39,
    "ocr": 6.39,
    "vqa": 6.39,
    "vqg": 6.39,
    "object_aware": 3.19,
    "detection": 1.02,
}


@functools.cache
def load(name):
    return load_config([str(CONFIGS / f"{name}.yaml")])


@pytest.mark.parametrize("name", [*PRETRAIN, "high_resolution_17b"])
def test_steps_take_the_tasks_as_often_as_they_have_examples(name):
    streams = load(name).streams
    total = sum(stream.weight for stream in streams.values())
    shares = {}
    for stream in streams.values():
        tasks = stream.input.prompted.tasks
        rates = sum(task.rate for task in tasks.values())
        for task, each in tasks.items():
            shares[task] = 100 * stream.weight / total * each.rate / rates
    assert shares == pytest.approx(SHARES, abs=0.005)
    assert streams["text"].input.video is None
    datasets = streams["images"].input.datasets
    for task in streams["images"].input.prompted.tasks.values():
        assert task.datasets and set(task.datasets) <= set(datasets)


@pytest.mark.parametrize(
    ("name", "batch", "steps", "visual_tokens", "frozen", "rate", "warmup"),
    [
        ("pretrain_3b", 4096, 390_625, 256, True, 1e-2, 1000),
        ("pretrain_15b", 4096, 390_625, 256, True, 5e-3, 1000),
        ("pretrain_17b", 4096, 390_625, 256, True, 5e-3, 1000),
        ("high_resolution_17b", 1024, 10_000, 1764, False, 1e-4, 1000),
        ("finetune_captions", 256, 5_000, 1764, False, 1e-4, 0),
        ("finetune_vqa", 512, 20_000, 1764, False, 1e-4, 0),
    ],
)
def test_phases(name, batch, steps, visual_tokens, frozen, rate, warmup):
    config = load(name)
    task = PaliTask(config.task, config.streams)
    assert config.trainer.train_steps == steps
    for stream, value in config.streams.items():
        prompted = value.input.prompted
        text = prompted.num_input_tokens + prompted.num_target_tokens
        visual = 0 if value.input.video is None else visual_tokens
        assert task.tokens_per_example(stream) == visual + text
        assert value.input.batch_size == batch
    optimizer = config.trainer.optimizers["main"]
    groups = {key: (group.pattern, group.frozen) for key, group in optimizer.groups.items()}
    assert groups == ({"vision": ("^vision/", True)} if frozen else {})
    schedule = optimizer.schedule
    assert (optimizer.kind, optimizer.decay_exponent) == ("adafactor", 0.8)
    assert (schedule.learning_rate, schedule.warmup_steps) == (rate, warmup)
    assert schedule.kind == ("rsqrt" if warmup else "constant")
    assert config.initialize and config.runtime.mixed_precision
