"""The demo at its smallest: every stage of the path in order, then a second run that skips."""

import json
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
OVERRIDES = (
    "trainer.train_steps=4",
    "trainer.summaries.log_interval_steps=2",
    "trainer.checkpoint.interval_steps=4",
    "streams.clips.input.batch_size=8",
    "evaluators.zero_shot.input.batch_size=4",
    "evaluators.retrieval.gallery_size=4",
)


def _demo(folder: pathlib.Path) -> str:
    sizes = ["--num_train=16", "--num_val=2", "--num_test=8"]
    command = [sys.executable, "-m", "mmstack", "demo", *sizes]
    command += [f"--config_file={ROOT / 'configs/demo.yaml'}"]
    command += [word for override in OVERRIDES for word in ("--set", override)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, _demo(folder)


def test_the_demo_goes_from_corpus_to_a_served_answer(first_run):
    folder, output = first_run
    assert "rejected items" in output
    assert "served answer for a new clip" in output
    info = json.loads((folder / "data/digits-single/dataset_info.json").read_text())
    assert info["counts"]["items"] == info["counts"]["records"] == 26
    report = json.loads((folder / "runs/demo/evaluation.json").read_text())
    assert set(report["scores"]) == set(report["chance"])
    assert 0.0 <= report["scores"]["zero_shot"]["top1"] <= 1.0
    assert (folder / "runs/demo/exported/digits/1/saved_model.pb").exists()


def test_the_demo_skips_what_is_done_and_answers_again(first_run):
    folder, first = first_run
    again = _demo(folder)
    assert again.count("done before, skipped") == 7
    answer = next(line for line in first.splitlines() if line.startswith("served answer"))
    assert answer in again
