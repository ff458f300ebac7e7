"""Evaluations that fail, are killed or are interrupted cost no steps, and change no result."""

import json
import os
import pathlib
import shutil
import signal
import time

import pytest

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
from trainers.loop import checkpoints
from trainers.loop.preemption import PREEMPTED_EXIT_CODE

SETTINGS = [
    "trainer.checkpoint={interval_steps: 10, best_metric: eval/toy/distance, best_mode: min}",
    "trainer.evaluation.interval_steps=5",
    "trainer.ema.decay=0.9",
]


class Killed(BaseException):
    """Stands for a kill: nothing of the program handles it."""


def _run(folder: pathlib.Path, *overrides: str) -> int:
    return run_toy(toy_config(folder, *SETTINGS, *overrides), folder / "run", "train_and_eval")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    """A run of 20 steps, evaluated every 5 and saved every 10."""
    folder = tmp_path_factory.mktemp("whole")
    assert _run(folder) == 0
    return folder / "run"


def _scores(run: pathlib.Path) -> list[dict]:
    lines = [line for line in metric_lines(run) if "eval/toy/distance" in line]
    assert len(lines) == len({line["step"] for line in lines})
    return lines


def assert_same_runs(run: pathlib.Path, whole: pathlib.Path) -> None:
    for folder in ("checkpoints", "best"):
        step = checkpoints.list_steps(str(whole / folder))[-1]
        assert checkpoints.list_steps(str(run / folder))[-1] == step
        assert_same_tensors(tensors(run, step, folder), tensors(whole, step, folder))
    assert (run / "best/best.json").read_text() == (whole / "best/best.json").read_text()
    assert (losses(run), _scores(run)) == (losses(whole), _scores(whole))


@pytest.mark.parametrize(
    ("step", "error", "left"),
    [
        (5, UserError("the clips are gone"), [5]),
        pytest.param(10, MemoryError(), [10], marks=pytest.mark.slow),
        (10, Killed(), [10]),
        pytest.param(15, Killed(), [10], marks=pytest.mark.slow),
        (20, Killed(), [10, 20]),
    ],
    ids=repr,
)
def test_a_failure_costs_no_saved_step(tmp_path, whole, monkeypatch, step, error, left):
    evaluate = toy_task.ToyDistance.evaluate

    def fail(self, model, context):
        if context.step == step:
            raise error
        return evaluate(self, model, context)

    monkeypatch.setattr(toy_task.ToyDistance, "evaluate", fail)
    for _ in range(2):
        with pytest.raises(type(error)):
            _run(tmp_path)
        assert checkpoints.list_steps(str(tmp_path / "run" / "checkpoints")) == left
    monkeypatch.undo()
    assert _run(tmp_path) == 0
    assert_same_runs(tmp_path / "run", whole)


def test_an_evaluation_that_was_logged_is_not_done_again(tmp_path, whole, monkeypatch):
    with monkeypatch.context() as patched:

        def kill(self, step, metric, value):
            if step == 10:
                raise Killed

        patched.setattr(checkpoints.Checkpoints, "save_best", kill)
        with pytest.raises(Killed):
            _run(tmp_path)
    done = []
    evaluate = toy_task.ToyDistance.evaluate
    monkeypatch.setattr(
        toy_task.ToyDistance,
        "evaluate",
        lambda self, model, context: done.append(context.step) or evaluate(self, model, context),
    )
    # Of step 10 only the best checkpoint is missing, which is made from that of the step.
    assert _run(tmp_path, "trainer.train_steps=10") == 0
    best = json.loads((tmp_path / "run/best/best.json").read_text())
    assert (done, best["step"]) == ([], 10)
    assert _run(tmp_path) == 0
    assert done == [15, 20]
    assert_same_runs(tmp_path / "run", whole)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.index")}
    assert _run(tmp_path) == 0
    assert done == [15, 20] and before == {path: path.stat().st_mtime_ns for path in before}


def _asked_then(work):
    """Asks this process to stop, then does `work`, which would take very long."""
    os.kill(os.getpid(), signal.SIGTERM)
    work()


def _sleep() -> None:
    time.sleep(100)


def _swallow() -> None:
    """Ends what interrupts it as an error of its own."""
    try:
        time.sleep(100)
    except BaseException as error:
        raise ValueError("the decoder failed") from error


@pytest.mark.parametrize(
    ("step", "saved", "work"),
    [
        (10, [10], _swallow),
        (15, [10, 15], _sleep),
        pytest.param(20, [10, 20], _sleep, marks=pytest.mark.slow),
    ],
)
def test_asked_to_stop_in_an_evaluation_it_leaves_at_once(
    tmp_path, whole, monkeypatch, capsys, step, saved, work
):
    evaluate = toy_task.ToyDistance.evaluate

    def asked(self, model, context):
        if context.step == step:
            _asked_then(work)
        return evaluate(self, model, context)

    monkeypatch.setattr(toy_task.ToyDistance, "evaluate", asked)
    start = time.monotonic()
    assert _run(tmp_path) == PREEMPTED_EXIT_CODE
    assert time.monotonic() - start < 30
    assert checkpoints.list_steps(str(tmp_path / "run" / "checkpoints")) == saved
    assert f"asked to stop: saved step {step}; the same command resumes" in capsys.readouterr().err
    monkeypatch.undo()
    assert _run(tmp_path) == 0
    assert_same_runs(tmp_path / "run", whole)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (toy_task.ToyInputs, "plan"),
        (toy_task.ToyTask, "build_model"),
        (toy_task.ToyTask, "terms"),
        (toy_task.ToyDistance, "evaluate"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
@pytest.mark.parametrize("mode", ["train_and_eval", "eval"])
def test_asked_to_stop_between_steps_it_saves_nothing_anew(
    tmp_path, whole, monkeypatch, owner, name, mode
):
    if (mode, name) == ("eval", "terms"):
        pytest.skip("nothing is trained")
    shutil.copytree(whole, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run/checkpoints").iterdir()}
    (tmp_path / "run/metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in metric_lines(whole) if "train/loss" in line)
    )
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *a, **k: _asked_then(_sleep) or original(*a, **k))
    config = toy_config(tmp_path, *SETTINGS, "trainer.train_steps=25")
    start = time.monotonic()
    assert run_toy(config, tmp_path / "run", mode) == PREEMPTED_EXIT_CODE
    assert time.monotonic() - start < 30
    assert {path: path.read_bytes() for path in (tmp_path / "run/checkpoints").iterdir()} == before
