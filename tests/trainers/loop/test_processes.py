"""Runs as processes: killed, asked to stop, and two of them as one."""

import pathlib
import random
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.trainers.loop.processes import ROOT, cluster, environment
from tests.trainers.loop.support import YAML, assert_same_tensors, losses, metric_lines, tensors
from trainers.loop import checkpoints
from trainers.loop.preemption import PREEMPTED_EXIT_CODE

STEPS = 150
EXACT = [
    "runtime.deterministic=true",
    "task.dropout_rate=0.2",
    "trainer.ema.decay=0.95",
    f"trainer.train_steps={STEPS}",
    "trainer.checkpoint={interval_steps: 10, keep: 3}",
    "trainer.steps_per_loop=3",
]


@pytest.fixture(scope="module")
def uninterrupted(zygote, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    answer = zygote.run(folder, *EXACT)
    assert answer["code"] == 0, zygote.log()
    return folder, answer["seconds"]


def _kill_and_resume(zygote, uninterrupted, folder: pathlib.Path, kills: int) -> None:
    """Kills at drawn lengths of the log of steps, so that a loaded machine kills as an idle one."""
    whole, _ = uninterrupted
    length = (whole / "metrics.jsonl").stat().st_size
    draw = random.Random(kills)
    for share in sorted(draw.uniform(0.1, 0.8) for _ in range(kills)):
        log = {"file": str(folder / "metrics.jsonl"), "bytes": int(share * length)}
        answer = zygote.run(folder, *EXACT, kill_at=log, kill_after_seconds=draw.uniform(0, 0.05))
        assert answer["code"] == -9, zygote.log()
    assert zygote.run(folder, *EXACT)["code"] == 0, zygote.log()
    assert_same_tensors(tensors(folder, STEPS), tensors(whole, STEPS))
    assert losses(folder) == losses(whole)
    left = [path.name for path in (folder / "checkpoints").iterdir()]
    assert not [name for name in left if "temp" in name or "tmp" in name]


def test_three_kills_change_nothing(zygote, uninterrupted, tmp_path):
    _kill_and_resume(zygote, uninterrupted, tmp_path / "run", 3)


@pytest.mark.slow
def test_ten_kills_change_nothing(zygote, uninterrupted, tmp_path):
    _kill_and_resume(zygote, uninterrupted, tmp_path / "run", 10)


def test_asked_to_stop_it_saves_and_the_same_command_goes_on(zygote, uninterrupted, tmp_path):
    whole, seconds = uninterrupted
    endless = [*EXACT[:3], "trainer.train_steps=1000000", *EXACT[5:]]
    endless.append("trainer.checkpoint.interval_steps=1000000")
    answer = zygote.run(tmp_path / "run", *endless, kill_after_seconds=seconds, signal=15)
    assert answer["code"] == PREEMPTED_EXIT_CODE, zygote.log()
    assert answer["seconds"] < seconds + 60
    (step,) = checkpoints.list_steps(str(tmp_path / "run" / "checkpoints"))
    assert f"saved step {step}" in zygote.log()
    more = [*endless, f"trainer.train_steps={step + 7}"]
    assert zygote.run(tmp_path / "run", *more)["code"] == 0
    assert zygote.run(tmp_path / "straight", *more)["code"] == 0
    assert_same_tensors(
        tensors(tmp_path / "run", step + 7), tensors(tmp_path / "straight", step + 7)
    )


def test_two_processes_train_as_one(zygote, tmp_path):
    config = tmp_path / "toy.yaml"
    config.write_text(YAML)
    overrides = ["task.batch_norm=true", "trainer.ema.decay=0.9", "trainer.train_steps=10"]
    # Adam would blow the rounding of a bias without gradient up to a full step.
    overrides.append("trainer.optimizers.main={kind: sgd, momentum: 0.9}")
    chosen = ["trainer.checkpoint={best_metric: eval/toy/distance, best_mode: min}"]
    chosen.append("evaluators.chosen={kind: toy_distance, of_best: true}")
    processes = []
    for index, place in enumerate(cluster(2)):
        argv = [sys.executable, "-m", "tests.trainers.toy_task", f"--config_file={config}"]
        argv += [f"--model_dir={tmp_path / 'two'}", "--mode=train_and_eval"]
        argv += ["--distribution_strategy=multi_worker_mirrored"]
        argv += [f"--set={override}" for override in [*overrides, *chosen]]
        log = (tmp_path / f"worker-{index}.txt").open("w")
        processes.append(
            subprocess.Popen(
                argv,
                cwd=ROOT,
                env=environment(TF_CONFIG=place),
                stdout=log,
                stderr=log,
            )
        )
    codes = [process.wait(timeout=300) for process in processes]
    assert codes == [0, 0], (tmp_path / "worker-0.txt").read_text()[-3000:]
    assert zygote.run(tmp_path / "one", *overrides)["code"] == 0
    two, one = tensors(tmp_path / "two", 10), tensors(tmp_path / "one", 10)
    assert two.keys() == one.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    evaluated = [line for line in metric_lines(tmp_path / "two") if "eval/toy/distance" in line]
    (best,) = [line for line in metric_lines(tmp_path / "two") if "eval/chosen/distance" in line]
    assert best["eval/chosen/distance"] == pytest.approx(evaluated[0]["eval/toy/distance"])
    # Only the chief writes and reports.
    assert "10/10 steps" in (tmp_path / "worker-0.txt").read_text()
    assert "10/10 steps" not in (tmp_path / "worker-1.txt").read_text()


@pytest.mark.parametrize(
    ("signal", "codes", "said"),
    [
        (15, [PREEMPTED_EXIT_CODE] * 2, "asked to stop: saved step"),
        (9, [2, -9], "mmstack train: [^\n]*; another worker of TF_CONFIG ended"),
    ],
    ids=["asked", "killed"],
)
def test_what_happens_to_one_worker_ends_all(zygote, tmp_path, signal, codes, said):
    config = tmp_path / "toy.yaml"
    config.write_text(YAML)
    argv = [f"--config_file={config}", f"--model_dir={tmp_path / 'run'}", "--mode=train"]
    argv += ["--distribution_strategy=multi_worker_mirrored", "--set=trainer.train_steps=2000"]
    answer = zygote.ask(
        argv=argv,
        environments=[{"TF_CONFIG": place} for place in cluster(2)],
        kill_at={"file": str(tmp_path / "run/metrics.jsonl"), "bytes": 1000},
        kill_after_seconds=0,
        signal=signal,
        signal_to=[1],
    )
    assert answer["codes"] == codes, zygote.log()
    assert re.search(said, zygote.log()), zygote.log()
    assert "Detected at node" not in zygote.log()
