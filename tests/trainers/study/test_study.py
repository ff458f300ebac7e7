"""Studies: runs as processes, resumed, failed and refused; the numbers of the table by hand."""

import csv
import json
import os
import pathlib
import signal
import sys
import threading
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from mm_models.errors import UserError
from tests.trainers import toy_task
from tests.trainers.loop.support import YAML
from trainers.commands import study as command
from trainers.study import pictures, plan, preparation, results, scheduler, tables
from trainers.study.config import load_study

ROOT = pathlib.Path(__file__).parents[3]
QUICK = (sys.executable, str(pathlib.Path(__file__).with_name("quick_trainer.py")))
TOY = (sys.executable, "-m", "tests.trainers.toy_task", "--mode=train_and_eval")
STUDY = {
    "name": "toy study",
    "overrides": ["trainer.train_steps=10"],
    "factors": {
        "share": {
            "levels": {0: [], 0.5: ["trainer.ema.decay=0.9"]},
            "each": ["name=toy-{share}-{seed}"],
        },
        "width": {"levels": {"narrow": ["task.width=4"], "wide": ["task.width=8"]}},
    },
    "seeds": [1, 2],
    "metrics": {"eval/toy/score": {"title": "score", "chance": 40}},
    "report": {"rows": "width", "control": "narrow"},
}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the toy's experiment and study; processes started there find the project."""
    toy_task.register()
    (tmp_path / "toy.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    return tmp_path


def write_study(folder, **changes):
    content = {"config_files": [str(folder / "toy.yaml")], **STUDY, **changes}
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return str(folder / "study.yaml")


def run_quickly(study, runs, trainer=QUICK, parallel=2):
    """What the command does between plan and report, with another trainer."""
    jobs = []
    for run in runs:
        resolved = plan.resolve(study, run)
        plan.check_folder(run, resolved)
        if not run.finished:
            jobs.append(scheduler.Job(run, resolved, plan.train_steps(resolved)))
    said = []
    engine = scheduler.Scheduler(
        parallel=parallel, threads=1, say=said.append, command=trainer, report_seconds=0.1
    )
    engine.complete = engine.run(jobs)
    return engine, said


def test_every_combination_is_planned_with_its_overrides(workplace):
    study = load_study(write_study(workplace))
    runs = plan.plan_runs(study, "out", ["trainer.steps_per_loop=2"])
    assert len(runs) == 8
    assert runs[3].name == "share-0.5_width-wide_seed-1"
    assert runs[3].overrides == (
        "trainer.train_steps=10",
        "name=toy-0.5-1",
        "trainer.ema.decay=0.9",
        "task.width=8",
        "trainer.seed=1",
        "trainer.steps_per_loop=2",
    )
    resolved = yaml.safe_load(plan.resolve(study, runs[3]))
    assert (resolved["name"], resolved["task"]["width"]) == ("toy-0.5-1", 8)
    assert [run.name for run in plan.select(runs, "*-wide_seed-2")] == [
        "share-0_width-wide_seed-2",
        "share-0.5_width-wide_seed-2",
    ]


def test_levels_and_seeds_are_chosen_by_flag(workplace):
    path = write_study(workplace)
    study = load_study(path, ["share=0.25,0.5", "width=narrow"], seeds="7")
    names = [run.name for run in plan.plan_runs(study, "out")]
    assert names == ["share-0.25_width-narrow_seed-7", "share-0.5_width-narrow_seed-7"]
    assert "name=toy-0.25-7" in plan.plan_runs(study, "out")[0].overrides


def test_runs_of_a_study_and_its_table_by_hand(workplace):
    study = load_study(write_study(workplace))
    runs = plan.plan_runs(study, workplace / "out")
    engine, said = run_quickly(study, runs)
    assert engine.complete and not engine.failed
    assert sum("finished in" in line for line in said) == 8
    found = results.collect(study, runs)
    # narrow: 10 * 4 + seed + 1 is 42 and 43; wide: 82 and 83.
    text = tables.markdown(found)
    assert "| narrow | 42.500 ± 0.500 (2) |" in text
    assert "| wide | 82.500 ± 0.500 (2)<br>+40.000 ± 0.000 |" in text
    assert "| *chance* | 40 |" in text
    assert "8 of 8 runs finished." in text
    table = list(csv.DictReader(tables.comma_separated(found).splitlines()))
    assert table[1] == {
        "share": "0",
        "width": "wide",
        "metric": "eval/toy/score",
        "mean": "82.5",
        "standard_error": "0.5",
        "runs": "2",
        "difference": "40.0",
        "difference_standard_error": "0.0",
        "chance": "40.0",
    }
    cells = json.loads(tables.as_json(found))["cells"]
    assert cells[0]["by_seed"] == {"1": 42.0, "2": 43.0}
    # At step 5 of 10 the narrow ones were at 41.5 and 42.5.
    curve = found.curves[(("share", "0"), ("width", "narrow")), "eval/toy/score"]
    assert (curve[4], len(curve)) == ((5, results.Estimate(42.0, 0.5, 2)), 10)
    lines = tables.curves_comma_separated(found).splitlines()
    assert lines[0] == "share,width,metric,step,mean,standard_error,runs"
    assert lines[5] == "0,narrow,eval/toy/score,5,42.0,0.5,2"
    # Nothing is trained twice.
    before = {run.name: (run.folder / scheduler.LOG).read_text() for run in runs}
    assert not run_quickly(study, runs)[1]
    assert before == {run.name: (run.folder / scheduler.LOG).read_text() for run in runs}


def test_standard_errors_by_hand():
    assert results.estimate([]) is None
    assert results.estimate([3.0]) == results.Estimate(3.0, None, 1)
    # Sample variance of 1, 2, 6 is 7; sqrt(7 / 3).
    of_three = results.estimate([1.0, 2.0, 6.0])
    assert of_three.mean == 3.0 and of_three.standard_error == pytest.approx(1.527525, abs=1e-6)
    # Seeds 1 and 2 are shared: differences 1 and 3.
    apart = results.difference({1: 3.0, 2: 5.0, 4: 9.0}, {1: 2.0, 2: 2.0, 3: 0.0})
    assert apart == results.Estimate(2.0, 1.0, 2)


def test_a_stopped_study_goes_on_where_it_was(workplace):
    study = load_study(write_study(workplace), seeds="1")
    runs = plan.plan_runs(study, workplace / "out")[:3]
    (workplace / "hold").touch()

    def stop_when_two_have_begun():
        while sum((run.folder / "position").exists() for run in runs) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_two_have_begun).start()
    engine, said = run_quickly(study, runs)
    assert not engine.complete and not engine.failed
    assert sum("stopped; the same command goes on" in line for line in said) == 2
    reached = [int((run.folder / "position").read_text()) for run in runs[:2]]
    assert reached == [1, 1] and not runs[2].folder.exists()
    assert plan.read_result(runs[0].folder)["exit_code"] == 42
    (workplace / "hold").unlink()
    engine, said = run_quickly(study, runs, parallel=3)
    assert engine.complete and all(run.finished for run in runs)
    logs = [(run.folder / scheduler.LOG).read_text().splitlines() for run in runs]
    assert logs == [["started at 0", "started at 1"]] * 2 + [["started at 0"]]
    assert "3/3 runs" in said[-1] and "steps/s" in said[-1] and "0 min left" in said[-1]


def test_a_killed_run_is_failed_and_a_run_in_other_hands_is_left_alone(workplace):
    study = load_study(write_study(workplace), seeds="1")
    runs = plan.plan_runs(study, workplace / "out")[:1]
    (workplace / "hold").touch()
    orphan = _start_and_forget(study, runs[0])
    engine, said = run_quickly(study, runs)
    assert engine.skipped == [runs[0].name] and "left alone" in said[0]
    orphan.kill()
    orphan.wait()
    (workplace / "hold").unlink()
    engine, _ = run_quickly(study, runs)
    assert not engine.skipped and runs[0].finished
    started = (runs[0].folder / scheduler.LOG).read_text().splitlines()
    assert started == ["started at 0", "started at 1"]


def _start_and_forget(study, run):
    """Starts the run as a scheduler that is then killed; the run's process, which goes on."""
    resolved = plan.resolve(study, run)
    engine = scheduler.Scheduler(parallel=1, threads=1, say=lambda _: None, command=QUICK)
    engine._clock = scheduler._Clock([])
    engine._start(scheduler.Job(run, resolved, 10))
    while not (run.folder / "position").exists():
        time.sleep(0.01)
    return engine._running[0].process


def test_a_failed_run_is_reported_and_the_others_go_on(workplace):
    factors = {
        "width": {"levels": {"narrow": ["task.width=4"], "wide": ["task.temperature=9.0"]}},
    }
    study = load_study(write_study(workplace, factors=factors))
    runs = plan.plan_runs(study, workplace / "out")
    engine, said = run_quickly(study, runs)
    assert engine.failed == ["width-wide_seed-1", "width-wide_seed-2"]
    assert any("FAILED with exit code 1" in line and "out of luck" in line for line in said)
    text = tables.markdown(results.collect(study, runs))
    assert "| narrow | 42.500 ± 0.500 (2) |" in text and "| wide | – |" in text
    assert "2 of 4 runs finished.\nMissing: width-wide_seed-1, width-wide_seed-2." in text
    assert run_quickly(study, runs)[0].failed == engine.failed


def test_a_folder_of_another_experiment_is_refused(workplace):
    study = load_study(write_study(workplace), seeds="1")
    runs = plan.plan_runs(study, workplace / "out")[:1]
    run_quickly(study, runs)
    threads = plan.plan_runs(study, workplace / "out", ["runtime.num_threads=1"])[0]
    plan.check_folder(threads, plan.resolve(study, threads))
    longer = plan.plan_runs(study, workplace / "out", ["trainer.train_steps=20"])[0]
    with pytest.raises(UserError, match=r"trainer.train_steps = 10, and the study now says 20"):
        plan.check_folder(longer, plan.resolve(study, longer))
    (runs[0].folder / plan.CONFIG).unlink()
    with pytest.raises(UserError, match="did not start"):
        plan.check_folder(runs[0], plan.resolve(study, runs[0]))


def test_commands_run_once_per_combination_they_mention(workplace):
    content = {
        "corpus": {"run": "{share}.txt 'two words'", "makes": "{share}.txt"},
        "base": {"run": "base-{seed}.txt x", "makes": "base-{seed}.txt"},
    }
    study = load_study(write_study(workplace, preparations=content))
    runs = plan.plan_runs(study, "out")
    (workplace / "base-2.txt").write_text("made before")
    steps = preparation.pending(study, runs)
    assert [step.makes for step in steps] == ["0.txt", "0.5.txt", "base-1.txt"]
    writes = (sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])")
    said = []
    preparation.prepare(steps, said.append, command=writes)
    assert (workplace / "0.5.txt").read_text() == "two words"
    assert said[1] == "preparation 2 of 3: mmstack 0.5.txt 'two words'"
    assert preparation.pending(study, runs) == []
    fails = (sys.executable, "-c", "raise SystemExit(3)")
    with pytest.raises(UserError, match="exit code 3"):
        preparation.prepare(steps, said.append, command=fails)
    with pytest.raises(UserError, match="did not make"):
        preparation.prepare(
            [preparation.PreparationConfig("x y", "z")], said.append, command=writes
        )


MISTAKES = {
    "unknown key": ({"metrics": {"eval/x": {"titel": "x"}}}, "did you mean title"),
    "wrong type": ({"seeds": ["one"]}, "seeds"),
    "no metrics": ({"metrics": {}}, "metrics is empty"),
    "no such control": ({"report": {"rows": "width", "control": "slim"}}, "report.control"),
    "no such rows": ({"report": {"rows": "height", "control": "slim"}}, "report.rows"),
    "take": ({"metrics": {"eval/x": {"take": "first"}}}, "take"),
    "repeated seed": ({"seeds": [1, 1]}, "repeat"),
    "name": ({"factors": {"width": {"levels": {"a/b": []}}}}, "is no name"),
    "makes": ({"preparations": {"a": {"run": "corpus digits"}}}, "needs both"),
    "unfilled": ({"preparations": {"a": {"run": "corpus {sahre}", "makes": "x"}}}, "sahre"),
    "bad override": ({"overrides": ["task.widht=3"]}, "run share-0_width-narrow_seed-1"),
}


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_file_is_one_sentence(workplace, changes, message):
    with pytest.raises(UserError, match=message):
        study = load_study(write_study(workplace, **changes))
        runs = plan.plan_runs(study, "out")
        preparation.pending(study, runs)
        plan.resolve(study, runs[0])


@pytest.mark.parametrize("choice", ["width=slim", "height=1", "width", "width=", "share=a/b"])
def test_a_level_that_cannot_be_is_refused(workplace, choice):
    with pytest.raises(UserError, match="--levels"):
        load_study(write_study(workplace), [choice])


def test_the_command_trains_the_toy_and_reports(workplace, monkeypatch, capsys):
    """The whole way with real runs; then the report alone, which trains nothing."""
    monkeypatch.setattr(scheduler.Scheduler.__init__, "__kwdefaults__", _with_toy_command())
    metrics = {"eval/toy/distance": {"title": "distance", "take": "min"}}
    factors = {"width": {"levels": {"narrow": ["task.width=4"]}}}
    path = write_study(workplace, factors=factors, metrics=metrics)
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [f"--study_file={path}", "--output_dir=out", "--seeds=1", "--parallel=2"]
    assert command.run(parser.parse_args([*words, "--dry_run"])) == 0
    assert "width-narrow_seed-1 (to do)" in capsys.readouterr().out
    assert not (workplace / "out").exists()
    assert command.run(parser.parse_args(words)) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 runs finished." in shown
    lines = (workplace / "out/runs/width-narrow_seed-1/metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line).get("eval/toy/distance") for line in lines]
    smallest = min(value for value in logged if value is not None)
    assert f"| narrow | {smallest:.3f} (1) |" in shown
    first = {path.name: path.read_bytes() for path in (workplace / "out").glob("*.*")}
    assert command.run(parser.parse_args([*words, "--report_only"])) == 0
    assert first == {path.name: path.read_bytes() for path in (workplace / "out").glob("*.*")}
    assert Image.open(workplace / "out/report.png").size[0] > 300
    curves = Image.open(workplace / "out/report_curves.png").convert("L")
    assert np.asarray(curves).std() > 5
    other = ["--report_only", "--metrics=train/loss", "--report_name=loss"]
    assert command.run(parser.parse_args([*words, *other])) == 0
    assert "| width | train/loss |" in (workplace / "out/loss.md").read_text()


def _with_toy_command():
    return {**scheduler.Scheduler.__init__.__kwdefaults__, "command": TOY}


def test_the_picture_shows_missing_runs_as_gaps(workplace):
    study = load_study(write_study(workplace))
    found = results.collect(study, plan.plan_runs(study, workplace / "out"))
    assert pictures.final_picture(found).startswith(b"\x89PNG")
    assert pictures.curves_picture(found).startswith(b"\x89PNG")
