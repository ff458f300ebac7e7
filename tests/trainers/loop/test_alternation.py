"""Several steps in one call, summed losses, warm-up and the plan."""

import contextlib
import json

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers import toy_task
from tests.trainers.loop.support import (
    assert_same_tensors,
    losses,
    metric_lines,
    run_toy,
    tensors,
    toy_config,
)
from tests.trainers.loop.test_streams import THREE_STREAMS, check_a_kill_changes_nothing
from trainers.loop import checkpoints
from trainers.loop.alternation.streams import open_streams
from trainers.loop.assembly import assemble, prepare
from trainers.loop.inputs import StreamReader
from trainers.loop.preemption import (
    DIVERGED_EXIT_CODE,
    PREEMPTED_EXIT_CODE,
    StopRequested,
    StopSignal,
)
from trainers.loop.state import RunState
from trainers.loop.steps.dispatch import Dispatcher
from trainers.loop.steps.warm_up import warm_up

INTERVALS = [
    "streams.small.interval=2",
    "streams.twin.interval=2",
    "trainer.alternation.sampler=interval",
]
SUM = ["trainer.alternation.combine=sum", "streams.large.weight=3"]
TWO = ["runtime.distribution_strategy=mirrored", "runtime.num_virtual_devices=2"]
# Adam would blow the rounding of a bias without gradient up to a full step.
SGD = "trainer.optimizers.main={kind: sgd, momentum: 0.9}"


def _config(folder, *overrides):
    return toy_config(folder, *overrides, text=THREE_STREAMS)


def _assemble(folder, *overrides):
    inputs, config = toy_task.ToyInputs(), _config(folder, *overrides)
    assembly = assemble(config, inputs, *prepare(config, inputs))
    names = list(assembly.train_steps)
    reader = StreamReader(
        config.streams, inputs, assembly.strategy, seed=0, positions=dict.fromkeys(names, 0)
    )
    return assembly, reader


def _weights(assembly) -> list[np.ndarray]:
    groups = assembly.optimizers["main"].groups
    slots = [variable for group in groups for variable in group.optimizer.variables]
    return [np.array(v.value) for v in (*assembly.model.variables, *slots)] + [
        np.array(value) for value in (*assembly.averages.values, assembly.step)
    ]


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param(["runtime.jit_compile=true"], id="one device"),
        pytest.param([*TWO, SGD], id="replicas", marks=pytest.mark.slow),
    ],
)
def test_several_steps_in_one_call_equal_single_steps(tmp_path, capsys, runtime):
    overrides = [*INTERVALS, *runtime, "trainer.checkpoint.interval_steps=11"]
    run_toy(_config(tmp_path, *overrides), tmp_path / "single")
    capsys.readouterr()
    run_toy(_config(tmp_path, *overrides, "trainer.alternation.multi_step=4"), tmp_path / "several")
    # The order repeats after four steps: large, large, small, twin.
    assert "compiled 4/4: large, large, small, twin in" in capsys.readouterr().err
    for step in (11, 22, 24):
        single, several = tensors(tmp_path / "single", step), tensors(tmp_path / "several", step)
        assert single.keys() == several.keys()
        for name, value in single.items():
            np.testing.assert_allclose(several[name], value, rtol=0, atol=1e-6, err_msg=name)
    assert losses(tmp_path / "several") == pytest.approx(losses(tmp_path / "single"), abs=1e-6)


@pytest.mark.parametrize(
    ("runtime", "rounds"), [(["runtime.jit_compile=true"], 17), (TWO, 2)], ids=["jit", "replicas"]
)
def test_a_step_is_traced_once_however_it_is_called(tmp_path, runtime, rounds):
    assembly, reader = _assemble(tmp_path, *runtime)
    dispatcher = Dispatcher(assembly.steps)
    blocks = [("large", "small"), ("twin",), ("large", "large", "twin")]
    for names in blocks * rounds:
        block = tuple((name,) for name in names)
        outputs = dispatcher.run(block, tuple((reader.next(name),) for name in names))
        assert len(outputs) == len(names)
    assert [step.num_traces for step in assembly.train_steps.values()] == [1, 1, 1]
    assert int(assembly.step.numpy()) == 6 * rounds


def test_a_batch_of_another_shape_is_refused(tmp_path):
    assembly, reader = _assemble(tmp_path)
    assembly.train_steps["small"](reader.next("small"))
    with pytest.raises(UserError, match="stream small: a batch had another shape"):
        assembly.train_steps["small"](reader.next("large"))


def test_the_step_that_diverged_is_named_inside_a_call(tmp_path):
    # Batch 3 of a stream is bad; small and twin come at every second pass.
    overrides = [*INTERVALS, "task.nan_from_step=3", "trainer.alternation.multi_step=4"]
    assert run_toy(_config(tmp_path, *overrides), tmp_path / "run") == DIVERGED_EXIT_CODE
    # Passes give large, then large, small, twin: its fourth batch is that of step 5.
    report = json.loads((tmp_path / "run" / "nan-step-5.json").read_text())
    assert (report["stream"], report["example_ids"][0]) == ("large", 3000)


def test_a_request_to_stop_is_heard_between_calls(tmp_path, monkeypatch):
    overrides = [*INTERVALS, "trainer.alternation={multi_step: 4, warm_up: false}"]
    overrides += ["trainer.steps_per_loop=12", "trainer.summaries.log_interval_steps=12"]
    checks = []

    def check_here(self):
        checks.append(1)
        if len(checks) == 2:
            raise StopRequested

    monkeypatch.setattr(StopSignal, "check_here", check_here)
    config = _config(tmp_path, *overrides, "trainer.checkpoint.interval_steps=24")
    assert run_toy(config, tmp_path / "run") == PREEMPTED_EXIT_CODE
    assert checkpoints.list_steps(str(tmp_path / "run" / "checkpoints")) == [8]


def test_too_many_different_calls_are_refused(tmp_path):
    for overrides in (
        ["trainer.alternation={sampler: loss, multi_step: 4}"],
        ["trainer.alternation={sampler: random, multi_step: 4}", "trainer.train_steps=400"],
    ):
        with pytest.raises(UserError, match="more than 16 different runs of 4 steps"):
            run_toy(_config(tmp_path, *overrides), tmp_path / "run")


def test_one_optimizer_serves_every_stream(tmp_path):
    assembly, reader = _assemble(tmp_path)
    (group,) = assembly.optimizers["main"].groups
    moments = []
    for stream in ("large", "small"):
        assembly.train_steps[stream](reader.next(stream))
        moments.append([np.array(v.value) for v in group.optimizer.variables if v.ndim == 2])
    assert int(group.optimizer.iterations.numpy()) == 2
    assert moments[0]
    for first, second in zip(*moments, strict=True):
        assert np.abs(first).max() > 0
        assert (first != second).any()


def _gradients(step, batch):
    terms, gradients = tf.function(step.reduced_gradients)(batch)
    return terms, {path: value.numpy() for path, value in gradients.items()}


def test_summed_losses_are_a_mean_by_weight(tmp_path):
    assembly, reader = _assemble(tmp_path, *SUM, "task.batch_norm=false")
    batches = {name: reader.next(name) for name in ("large", "small", "twin")}
    expected, loss = {}, 0.0
    for name, batch in batches.items():
        terms, gradients = _gradients(assembly.train_steps[name], batch)
        share = {"large": 0.6}.get(name, 0.2)
        loss += share * float(terms["loss"].sum / terms["loss"].weight)
        for path, value in gradients.items():
            expected[path] = expected.get(path, 0.0) + share * value
    ordered = [batches[name] for name in assembly.summed.streams]
    outputs, gradients = tf.function(assembly.summed.reduced)(*ordered)
    assert gradients.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(gradients[path], value, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(outputs["term/loss"], [loss, 1.0], rtol=1e-6)
    assert {"term/large/margin", "term/small/loss"} <= outputs.keys()


def test_a_summed_run_reads_every_stream_and_resumes(tmp_path):
    positions = check_a_kill_changes_nothing(tmp_path, *SUM, "trainer.alternation.multi_step=2")
    assert positions == {"large": 24, "small": 24, "twin": 24}
    line = metric_lines(tmp_path / "whole")[-1]
    parts = [line[f"train/{name}/loss"] for name in ("large", "small", "twin")]
    assert line["train/loss"] == pytest.approx(np.dot(parts, [0.6, 0.2, 0.2]), rel=0.05)


def test_a_summed_step_does_not_depend_on_the_number_of_replicas(tmp_path):
    results = []
    for runtime in ([], TWO):
        assembly, reader = _assemble(
            tmp_path, *SUM, SGD, *runtime, "task.dropout_rate=0", "runtime.jit_compile=true"
        )
        for _ in range(3):
            batches = [reader.next(name) for name in assembly.summed.streams]
            outputs = assembly.summed(*batches)
        assert assembly.summed.num_traces == 1
        results.append([outputs["term/loss"].numpy(), *_weights(assembly)])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param([*INTERVALS, "runtime.jit_compile=true"], id="jit"),
        pytest.param([*INTERVALS, *TWO], id="replicas"),
        pytest.param(SUM, id="sum", marks=pytest.mark.slow),
    ],
)
def test_warm_up_compiles_everything_and_changes_nothing(tmp_path, overrides):
    overrides = [*overrides, "trainer.alternation.multi_step=4"]
    assembly, reader = _assemble(tmp_path, *overrides)
    for _ in range(2):
        for streams, step in assembly.steps.items():
            step(*(reader.next(name) for name in streams))
    before = _weights(assembly)
    fresh, _ = _assemble(tmp_path, *overrides)
    for target, source in zip(
        (fresh.model, fresh.optimizers["main"].groups[0].optimizer),
        (assembly.model, assembly.optimizers["main"].groups[0].optimizer),
        strict=True,
    ):
        for variable, value in zip(target.variables, source.variables, strict=True):
            variable.assign(np.array(value))
    for variable, value in zip(fresh.averages.values, assembly.averages.values, strict=True):
        variable.assign(np.array(value))
    fresh.step.assign(assembly.step.numpy())
    streams, lines, checks = open_streams(fresh, RunState({}, "", 0), 0), [], []

    @contextlib.contextmanager
    def interrupting():
        checks.append(1)
        yield

    warm_up(streams, fresh, say=lines.append, interrupting=interrupting)
    for ours, theirs in zip(_weights(fresh), before, strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert all(step.num_traces == 1 for step in fresh.steps.values())
    assert len(lines) == len(checks) == len(streams.blocks) == len(fresh.steps) + 1
    assert not any(streams.dispatcher.is_new(block) for block in streams.blocks)
    # Real batches fit what was compiled for the declared shapes, and give the same.
    for names, step in fresh.steps.items():
        batches = [reader.next(name) for name in names]
        ours, theirs = step(*batches), assembly.steps[names](*batches)
        assert step.num_traces == 1
        np.testing.assert_array_equal(ours["term/loss"], theirs["term/loss"])


@pytest.mark.slow
def test_without_warm_up_a_run_is_the_same(tmp_path, capsys):
    run_toy(_config(tmp_path), tmp_path / "warm")
    assert "compiled 3/3: twin in" in capsys.readouterr().err
    run_toy(_config(tmp_path, "trainer.alternation.warm_up=false"), tmp_path / "cold")
    assert "compiled" not in capsys.readouterr().err
    assert_same_tensors(tensors(tmp_path / "warm", 24), tensors(tmp_path / "cold", 24))
    assert losses(tmp_path / "warm") == losses(tmp_path / "cold")


def test_the_plan_is_shown_before_training_and_in_a_dry_run(tmp_path, capsys):
    config = _config(
        tmp_path, *INTERVALS, "trainer.train_steps=8", "trainer.alternation.multi_step=4"
    )
    run_toy(config, tmp_path / "run", dry=True)
    shown = capsys.readouterr().out
    assert "1 different calls of 4 steps each" in shown
    run_toy(config, tmp_path / "run")
    table = [line.split() for line in capsys.readouterr().err.splitlines()[:4]]
    assert [line.split() for line in shown.splitlines() if line.split() in table] == table
    assert table[0] == ["stream", "share", "steps", "batch", "tokens/step", "GFLOP/step", "FLOPs"]
    columns = [row[:5] for row in table[1:]]
    assert columns == [
        ["large", "50.00%", "4", "16", "48"],
        ["small", "25.00%", "2", "8", "24"],
        ["twin", "25.00%", "2", "16", "48"],
    ]
    parts = [float(row[-1].rstrip("%")) for row in table[1:]]
    assert sum(parts) == pytest.approx(100, abs=0.02)
    # Towers cost by the batch, similarities by its square: less than half for half a batch.
    assert parts[0] == pytest.approx(2 * parts[2], abs=0.02)
    assert 0.4 < parts[1] / parts[2] < 0.5
