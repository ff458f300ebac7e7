"""The checkpoint that one evaluator chooses is measured by another, once, when training is over."""

import json
import math
import os
import pathlib
import signal

import pytest

from mm_models.errors import UserError
from tests.trainers import toy_task
from tests.trainers.loop.support import assert_same_tensors, metric_lines, run_toy, tensors
from tests.trainers.loop.support import toy_config as config_of
from trainers.loop import checkpoints
from trainers.loop.preemption import PREEMPTED_EXIT_CODE

CHOSEN = "eval/chosen/distance"
SETTINGS = [
    # Distances fall, so that the largest one, the best, is the first.
    "trainer.checkpoint={interval_steps: 10, best_metric: eval/toy/distance, best_mode: max}",
    "trainer.evaluation.interval_steps=5",
    "trainer.optimizers.main.schedule.learning_rate=0.003",
    "trainer.ema.decay=0.9",
    "evaluators.chosen={kind: toy_distance, of_best: true}",
]


def _run(folder: pathlib.Path, *overrides: str, mode: str = "train_and_eval") -> int:
    return run_toy(config_of(folder, *SETTINGS, *overrides), folder / "run", mode)


def _chosen(run: pathlib.Path, file_name: str = "metrics.jsonl") -> list[tuple[int, float]]:
    lines = metric_lines(run, file_name)
    return [(line["step"], line[CHOSEN]) for line in lines if CHOSEN in line]


def test_the_best_checkpoint_is_measured_once_when_training_is_over(tmp_path, monkeypatch, capsys):
    assert _run(tmp_path) == 0
    run = tmp_path / "run"
    best = json.loads((run / "best/best.json").read_text())
    assert best["step"] == 5
    ((step, distance),) = _chosen(run)
    # By the weights of the best checkpoint, or their averages, and not those of the last step.
    assert step == 5 and distance == pytest.approx(best["value"], rel=1e-6)
    assert sum("eval/toy/distance" in line for line in metric_lines(run)) == 4
    assert "the best checkpoint, step 5" in capsys.readouterr().err
    last = tensors(run, 20)
    monkeypatch.setattr(toy_task.ToyDistance, "evaluate", lambda *_: pytest.fail("done already"))
    assert _run(tmp_path) == 0
    assert len(_chosen(run)) == 1
    # A run that goes on starts from its last weights.
    assert_same_tensors(tensors(run, 20), last)
    monkeypatch.undo()
    assert _run(tmp_path, "trainer.train_steps=25") == 0
    assert _chosen(run) == [(5, distance)]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert _run(whole, "trainer.train_steps=25") == 0
    assert_same_tensors(tensors(run, 25), tensors(whole / "run", 25))


def test_what_was_cut_is_done_by_the_next_start(tmp_path, monkeypatch):
    evaluate = toy_task.ToyDistance.evaluate

    def asked(self, model, context):
        if self.config.of_best:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, model, context)

    monkeypatch.setattr(toy_task.ToyDistance, "evaluate", asked)
    assert _run(tmp_path) == PREEMPTED_EXIT_CODE
    assert checkpoints.list_steps(str(tmp_path / "run/checkpoints")) == [10, 20]
    assert not _chosen(tmp_path / "run")
    monkeypatch.undo()
    assert _run(tmp_path) == 0
    assert [step for step, _ in _chosen(tmp_path / "run")] == [5]


def test_early_stopping_and_evaluating_modes_measure_it_too(tmp_path):
    patience = "trainer.evaluation.early_stopping_patience=2"
    assert _run(tmp_path, patience) == 0
    assert [step for step, _ in _chosen(tmp_path / "run")] == [5]
    assert checkpoints.list_steps(str(tmp_path / "run/checkpoints"))[-1] == 15

    apart = tmp_path / "apart"
    apart.mkdir()
    assert _run(apart, mode="train") == 0
    waiting = "trainer.evaluation={poll_seconds: 0.01, timeout_seconds: 0.2}"
    assert _run(apart, waiting, mode="continuous_eval") == 0
    assert [step for step, _ in _chosen(apart / "run", "eval/metrics.jsonl")] == [10]


def test_a_run_without_a_best_checkpoint_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toy_task.ToyDistance, "evaluate", lambda *_: {"distance": math.nan})
    assert _run(tmp_path) == 0
    assert not _chosen(tmp_path / "run")
    assert "chosen did not run: no checkpoint is the best one yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.checkpoint.best_metric=''", "best_metric is empty"),
        ("trainer.checkpoint.best_metric=eval/chosen/distance", "is that of the same evaluator"),
        ("evaluators.chosen.every_steps=5", "has both of_best and every_steps"),
    ],
)
def test_what_would_never_choose_or_run_is_refused(tmp_path, override, expected):
    with pytest.raises(UserError, match=expected):
        _run(tmp_path, override)
