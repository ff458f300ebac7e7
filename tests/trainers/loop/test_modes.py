"""What a run writes, when it stops, and the other modes of the command."""

import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers import toy_task
from tests.trainers.loop.support import losses, metric_lines, run_toy, tensors, toy_config
from trainers import runs
from trainers.evaluation import first_batches as evaluation_inputs
from trainers.loop import checkpoints
from trainers.loop.preemption import DIVERGED_EXIT_CODE

BEST = "trainer.checkpoint={interval_steps: 10, best_metric: eval/toy/distance, best_mode: min}"


def _scalars(folder: pathlib.Path) -> dict[str, dict[int, float]]:
    """TensorBoard scalars by tag and step."""
    found: dict[str, dict[int, float]] = {}
    for path in folder.glob("events.*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.HasField("tensor") and value.tensor.dtype == tf.float32.as_datatype_enum:
                    array = tf.make_ndarray(value.tensor)
                    if array.ndim == 0:
                        found.setdefault(value.tag, {})[event.step] = float(array)
    return found


def test_a_run_logs_evaluates_and_keeps_the_best(tmp_path, capsys):
    config = toy_config(
        tmp_path, BEST, "trainer.evaluation.interval_steps=8", "trainer.ema.decay=0.9"
    )
    run = tmp_path / "run"
    assert run_toy(config, run, mode="train_and_eval") == 0
    evaluations = {line["step"]: line for line in metric_lines(run) if "eval/toy/distance" in line}
    assert sorted(evaluations) == [8, 16, 20]
    best = json.loads((run / "best" / "best.json").read_text())
    values = {step: line["eval/toy/distance"] for step, line in evaluations.items()}
    assert best == {
        "step": min(values, key=values.get),
        "metric": "eval/toy/distance",
        "value": min(values.values()),
    }
    loaded = runs.load_run(str(run), "best")
    batch = toy_task.host_batch(32, seed=99, step=0)
    distance = np.mean(np.square(loaded.model.left(batch["x"]) - loaded.model.right(batch["y"])))
    # The averages were evaluated, and they are what the run loads.
    assert distance == pytest.approx(best["value"], rel=1e-5)
    scalars = _scalars(run / "train")
    for tag in (
        "train/loss",
        "train/margin",
        "train/gradient_norm/main",
        "train/learning_rate/main",
        "train/examples_per_second",
        "train/tokens_per_second",
        "train/model_flops_utilization",
        "train/input_stall_share",
        "train/parameter_norm/right",
    ):
        assert sorted(scalars[tag]) == [5, 10, 15, 20]
    assert scalars["train/loss"] == pytest.approx(losses(run))
    assert _scalars(run / "eval")["eval/toy/distance"] == pytest.approx(values)
    err = capsys.readouterr().err
    assert re.search(r"20/20 steps, .* steps/s, loss \d", err)
    assert "evaluation at step 16" in err


def test_training_stops_early_without_improvement(tmp_path, capsys):
    overrides = [
        BEST.replace("min}", "max}"),
        "trainer.evaluation={interval_steps: 2, early_stopping_patience: 3}",
        "trainer.train_steps=100",
        "trainer.optimizers.main.schedule.learning_rate=0.003",
    ]
    run = tmp_path / "run"
    assert run_toy(toy_config(tmp_path, *overrides), run, mode="train_and_eval") == 0
    # The distance falls from the start, so that its first value stays the largest.
    assert checkpoints.list_steps(str(run / "checkpoints"))[-1] == 8
    assert json.loads((run / "best" / "best.json").read_text())["step"] == 2
    assert run_toy(toy_config(tmp_path, *overrides), run, mode="train_and_eval") == 0
    assert "was stopped early: nothing to train" in capsys.readouterr().err
    assert checkpoints.list_steps(str(run / "checkpoints"))[-1] == 8


def test_a_loss_that_is_no_number_stops_the_run_and_names_its_examples(tmp_path, capsys):
    run = tmp_path / "run"
    config = toy_config(tmp_path, "task.nan_from_step=13")
    assert run_toy(config, run) == DIVERGED_EXIT_CODE
    report = json.loads((run / "nan-step-13.json").read_text())
    assert (report["step"], report["stream"], report["loss"]) == (13, "main", "nan")
    assert report["example_ids"] == list(range(13000, 13016))
    assert report["example_keys"][:2] == ["toy/13000", "toy/13001"]
    assert "toy/13000" in capsys.readouterr().err
    assert checkpoints.list_steps(str(run / "checkpoints")) == [10]
    assert all(np.isfinite(value).all() for value in tensors(run, 10).values())


def test_a_dry_run_reports_and_writes_nothing(tmp_path, capsys):
    config = toy_config(tmp_path, "trainer.ema.decay=0.9")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run_toy(config, tmp_path / "run", mode="train_and_eval", dry=True) == 0
    report = capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    # 8x16+16 + 16x8+8 + 8x8+8 = 352 parameters.
    assert "parameters: 352 trainable" in report
    # Forward 2 x 16 x (8x16 + 16x8 + 8x8 + 16x8), backward twice that, less the inputs' gradients.
    assert "0.000 GFLOP per step" in report
    assert "endless synthetic batches of 16" in report and "\n    rows 16\n" in report
    assert "memory per replica, about:" in report
    assert "evaluators: toy" in report


def test_counted_operations_equal_the_hand_count(tmp_path):
    from trainers.loop.assembly import assemble, prepare, step_costs

    inputs = toy_task.ToyInputs()
    config = toy_config(tmp_path)
    assembly = assemble(config, inputs, *prepare(config, inputs))
    inner, outer, right, logits = (16 * a * b for a, b in ((8, 16), (16, 8), (8, 8), (8, 16)))
    forward = inner + outer + right + logits
    # Backward: each kernel's gradient, and the gradients of what is no input.
    backward = inner + outer + right + outer + 2 * logits
    assert step_costs(assembly, "main").flops == 2 * (forward + backward)
    assert step_costs(assembly, "main").activation_bytes > 16 * 16 * 4


def test_eval_and_continuous_eval_take_each_checkpoint_once(tmp_path):
    run = tmp_path / "run"
    config = toy_config(
        tmp_path, BEST, "trainer.evaluation={poll_seconds: 0.01, timeout_seconds: 0.2}"
    )
    run_toy(config, run)
    assert run_toy(config, run, mode="eval") == 0
    assert [line["step"] for line in metric_lines(run, "eval/metrics.jsonl")] == [20]
    assert run_toy(config, run, mode="continuous_eval") == 0
    lines = metric_lines(run, "eval/metrics.jsonl")
    assert [line["step"] for line in lines] == [20, 10]
    best = json.loads((run / "best" / "best.json").read_text())
    assert best["value"] == min(line["eval/toy/distance"] for line in lines)
    assert runs.load_run(str(run), "best").step == best["step"]
    # Nothing new: it waits for the timeout and leaves.
    config.trainer.train_steps = 40
    assert run_toy(config, run, mode="continuous_eval") == 0
    assert len(metric_lines(run, "eval/metrics.jsonl")) == 2


def test_the_profilers_window_is_written(tmp_path):
    overrides = ["trainer.summaries={profile_start_step: 3, profile_steps: 2}"]
    run_toy(toy_config(tmp_path, *overrides, "trainer.train_steps=8"), tmp_path / "run")
    assert list((tmp_path / "run" / "train").rglob("*.xplane.pb"))


def test_vocabularies_are_copied_and_the_copied_config_resumes(tmp_path):
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("a\nb\n")
    run = tmp_path / "run"
    config = toy_config(tmp_path, f"task.vocabulary={vocabulary}", "trainer.train_steps=2")
    run_toy(config, run)
    vocabulary.unlink()
    from trainers.config.loading import load_config

    copied = load_config([str(run / "config.yaml")], ["trainer.train_steps=4"])
    assert copied.task.vocabulary == str(run / "assets" / "words.txt")
    assert run_toy(copied, run) == 0
    assert checkpoints.list_steps(str(run / "checkpoints")) == [2, 4]


@pytest.mark.parametrize(
    ("overrides", "mode", "expected"),
    [
        (
            ["trainer.checkpoint.best_metric=toy"],
            "train_and_eval",
            "write eval/<evaluator>/<metric>",
        ),
        (
            ["trainer.checkpoint.best_metric=eval/toy/distances"],
            "train_and_eval",
            "evaluators.toy reports no 'distances'; did you mean ['eval/toy/distance']?",
        ),
        (["evaluators.toy.every_steps=-1"], "train_and_eval", "evaluators.toy.every_steps is -1"),
        (["trainer.summaries={profile_steps: 2, profile_start_step: 99}"], "train", "earlier"),
        (["trainer.accumulation_steps=3"], "train", "do not divide"),
        (
            ["task.vocabulary=/nowhere/words.txt"],
            "train",
            "task.vocabulary is '/nowhere/words.txt', which",
        ),
    ],
)
def test_mistakes_are_refused(tmp_path, overrides, mode, expected):
    with pytest.raises(UserError) as error:
        run_toy(toy_config(tmp_path, *overrides), tmp_path / "run", mode=mode)
    assert expected in str(error.value)


def test_a_model_that_lacks_an_ability_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_inputs, "check_inputs", lambda evaluators: {})
    kind = "evaluators.r={kind: retrieval, pairs: [audio_to_video]}"
    config = toy_config(tmp_path, kind, "evaluators.r.input={video: {}, audio: {}}")
    expected = "evaluators.r.kind is retrieval, which needs a model of the ability Embeds"
    with pytest.raises(UserError, match=expected):
        run_toy(config, tmp_path / "run", mode="train_and_eval")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (str(tmp_path / "file" / "run"), ""):
        with pytest.raises(UserError, match="cannot be written|no run folder was named"):
            run_toy(toy_config(tmp_path), folder)
