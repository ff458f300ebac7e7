"""Order of streams: weights, determinism and O(1) positions."""

import numpy as np

from tests.trainers import toy_task
from tests.trainers.loop.support import losses, run_toy, tensors, toy_config
from trainers.loop.assembly import assemble, prepare
from trainers.loop.inputs import StreamOrder


def test_order_follows_the_weights_and_nothing_but_seed_and_step():
    weights = {"a": 3.0, "b": 1.0, "c": 0.0, "d": 0.5}
    order = StreamOrder(weights, seed=5)
    names = [order.stream(step) for step in range(2000)]
    assert names == [StreamOrder(weights, seed=5).stream(step) for step in range(2000)]
    assert names != [StreamOrder(weights, seed=6).stream(step) for step in range(2000)]
    for name, weight in weights.items():
        assert abs(names.count(name) - 2000 * weight / 4.5) <= 4
    for step in (0, 1, 77, 2000):
        counts = {name: names[:step].count(name) for name in ("a", "b", "d")}
        assert order.counts(step) == counts
    counts = order.counts(3_000_000)
    assert sum(counts.values()) == 3_000_000
    assert abs(counts["a"] / 3_000_000 - 2 / 3) < 1e-5


def test_one_stream_takes_every_step():
    order = StreamOrder({"only": 0.1, "never": 0.0}, seed=0)
    assert {order.stream(step) for step in range(50)} == {"only"}
    assert order.counts(10**12) == {"only": 10**12}


TWO_STREAMS = [
    "streams={main: {weight: 2}, small: {weight: 1, input: {batch_size: 8}}}",
    "trainer.train_steps=12",
    "trainer.checkpoint.interval_steps=7",
]


def test_streams_of_different_shapes_share_a_run_with_one_trace_each(tmp_path):
    config = toy_config(tmp_path, *TWO_STREAMS)
    assert run_toy(config, tmp_path / "run") == 0
    lines = losses(tmp_path / "run")
    assert sorted(lines) == [5, 10, 12]
    inputs = toy_task.ToyInputs()
    assembly = assemble(config, inputs, *prepare(config, inputs))
    for step in range(6):
        size = 8 if step % 2 else 16
        name = "small" if step % 2 else "main"
        batch = toy_task.host_batch(size, seed=0, step=step)
        assembly.train_steps[name]({key: np.asarray(value) for key, value in batch.items()})
    assert [step.num_traces for step in assembly.train_steps.values()] == [1, 1]


def test_streams_resume_where_each_of_them_was(tmp_path):
    config = toy_config(tmp_path, *TWO_STREAMS)
    run_toy(config, tmp_path / "whole")
    config.trainer.train_steps = 5
    run_toy(config, tmp_path / "parts")
    config.trainer.train_steps = 12
    run_toy(config, tmp_path / "parts")
    whole, parts = tensors(tmp_path / "whole", 12), tensors(tmp_path / "parts", 12)
    assert all(whole[name].tobytes() == parts[name].tobytes() for name in whole)
