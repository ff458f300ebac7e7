"""Several streams in one run: traces, positions, accumulation."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers import toy_task
from tests.trainers.loop.support import assert_same_tensors, losses, run_toy, tensors, toy_config
from trainers.data.config import DatasetConfig
from trainers.loop import checkpoints
from trainers.loop.assembly import assemble, prepare
from trainers.loop.inputs import StreamReader, data_seeds

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


THREE_STREAMS = """
name: toy
task: {name: toy, dropout_rate: 0.3, batch_norm: true}
streams:
  large: {input: {batch_size: 16}}
  small: {input: {batch_size: 8}}
  twin: {input: {batch_size: 16}}
trainer:
  train_steps: 24
  steps_per_loop: 4
  checkpoint: {interval_steps: 9}
  summaries: {log_interval_steps: 6}
  ema: {decay: 0.9}
runtime: {peak_flops_per_second: 1.0e9}
"""
ALTERNATION = "trainer.alternation="


def check_a_kill_changes_nothing(folder, *overrides) -> dict[str, int]:
    """Goes on from the checkpoint at step 9 as if the rest had never been; gives the positions."""
    config = toy_config(folder, *overrides, text=THREE_STREAMS)
    run_toy(config, folder / "whole")
    shutil.copytree(folder / "whole", folder / "parts")
    for path in (folder / "parts" / "checkpoints").glob("ckpt-*"):
        if not path.name.startswith("ckpt-9."):
            path.unlink()
    run_toy(config, folder / "parts")
    assert_same_tensors(tensors(folder / "whole", 24), tensors(folder / "parts", 24))
    assert losses(folder / "whole") == losses(folder / "parts")
    first, second = (
        checkpoints.read_state(checkpoints.path_of(f"{folder}/{run}/checkpoints", 24), verify=True)
        for run in ("whole", "parts")
    )
    assert first == second
    return first["positions"]


@pytest.mark.parametrize(
    ("sampler", "overrides", "expected"),
    [
        ("proportional", ["streams.large.weight=2"], {"large": 12, "small": 6, "twin": 6}),
        pytest.param("random", [], None, marks=pytest.mark.slow),
        (
            "interval",
            ["streams.small.interval=3", "streams.twin.interval=3"],
            {"large": 15, "small": 5, "twin": 4},
        ),
        ("loss, refresh_steps: 7", ["streams.small.weight=0.2"], None),
        pytest.param("uncertainty, refresh_steps: 5", [], None, marks=pytest.mark.slow),
    ],
)
def test_every_sampler_resumes_where_each_stream_was(tmp_path, sampler, overrides, expected):
    overrides = [f"{ALTERNATION}{{sampler: {sampler}}}", *overrides]
    positions = check_a_kill_changes_nothing(tmp_path, *overrides)
    assert sum(positions.values()) == 24
    assert positions == (expected or positions)


def test_streams_of_one_data_set_are_shuffled_apart(tmp_path):
    config = toy_config(tmp_path, text=THREE_STREAMS)
    seeds = data_seeds(config.streams, 2**40 + 5)
    assert len(set(seeds.values())) == 3 and seeds["large"] == 2**40 + 5
    assert data_seeds(dict(reversed(config.streams.items())), 2**40 + 5) == seeds
    config.streams["small"].input.datasets = {"own": DatasetConfig(path="elsewhere")}
    assert data_seeds(config.streams, 7)["small"] == 7
    strategy = tf.distribute.get_strategy()
    reader = StreamReader(
        config.streams, toy_task.ToyInputs(), strategy, seed=7, positions={"large": 3, "twin": 3}
    )
    large, twin = (reader.next(name)["x"].numpy() for name in ("large", "twin"))
    np.testing.assert_array_equal(large, toy_task.host_batch(16, seed=7, step=3)["x"])
    assert (large != twin).any()


def test_another_sampler_or_interval_is_another_experiment(tmp_path):
    config = toy_config(tmp_path, "trainer.train_steps=1", text=THREE_STREAMS)
    run_toy(config, tmp_path / "run")
    for override, expected in (
        (
            f"{ALTERNATION}{{sampler: random}}",
            "trainer.alternation.sampler 'proportional' → 'random'",
        ),
        ("streams.large.weight=2", "streams.large.weight 1.0 → 2.0"),
    ):
        with pytest.raises(UserError, match=expected):
            run_toy(toy_config(tmp_path, override, text=THREE_STREAMS), tmp_path / "run")


def test_a_stream_may_have_its_own_number_of_parts(tmp_path):
    overrides = ["task.contrastive=false", "task.batch_norm=false", "task.dropout_rate=0"]
    results = []
    for own in ([], ["streams.small.accumulation_steps=4", "trainer.accumulation_steps=2"]):
        inputs = toy_task.ToyInputs()
        config = toy_config(tmp_path, *overrides, *own, text=THREE_STREAMS)
        assembly = assemble(config, inputs, *prepare(config, inputs))
        graphs = []
        for name in ("large", "small"):
            function = tf.function(assembly.train_steps[name].reduced_gradients)
            size = config.streams[name].input.batch_size
            batch = toy_task.host_batch(size, seed=0, step=0)
            terms, gradients = function(batch)
            graphs.append(function.get_concrete_function(batch).graph)
        results.append((float(terms["loss"].sum), gradients))
        parts = [
            max([len(op.outputs) for op in graph.get_operations() if op.type == "Split"] or [1])
            for graph in graphs
        ]
        assert parts == ([2, 4] if own else [1, 1])
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for path, gradient in results[0][1].items():
        np.testing.assert_allclose(results[1][1][path], gradient, rtol=1e-4, atol=1e-6)
