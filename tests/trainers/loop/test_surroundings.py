"""What fails around a run, such as a full disk, is one sentence and harms nothing."""

import os
import pathlib
import signal
import subprocess

import pytest
import tensorflow as tf

import mmstack
from tests.repository.source_tree import ROOT
from tests.trainers.loop.processes import Zygote
from tests.trainers.loop.support import run_toy, toy_config
from trainers.config.loading import load_config
from trainers.loop import checkpoints
from trainers.loop.modes import run_experiment
from trainers.loop.trainer import Trainer

pytestmark = pytest.mark.skipif(
    not pathlib.Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full"
)


def _train(folder: pathlib.Path, run: pathlib.Path, *overrides: str) -> int:
    return mmstack.explained("train", lambda: run_toy(toy_config(folder, *overrides), run))


@pytest.mark.parametrize("name", ["metrics.jsonl", ".tmp-config.yaml"])
def test_a_disk_that_is_full_when_a_run_starts_again_is_a_sentence(tmp_path, capsys, name):
    run = tmp_path / "run"
    assert _train(tmp_path, run, "trainer.train_steps=5") == 0
    kept = (run / "config.yaml").read_bytes()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to("/dev/full")
    capsys.readouterr()
    assert _train(tmp_path, run, "trainer.train_steps=10") == 2
    err = capsys.readouterr().err
    assert f"{run / name}" in err and "No space left on device; make room there" in err
    assert "Traceback" not in err
    assert checkpoints.list_steps(str(run / "checkpoints"))[0] == 5
    if "config" in name:
        assert (run / "config.yaml").read_bytes() == kept and not (run / name).is_symlink()


@pytest.mark.parametrize("inner", ["train", "eval", "checkpoints", "assets", "best", "."])
def test_a_folder_of_a_run_that_cannot_be_written_is_refused_before_any_work(
    tmp_path, capsys, inner
):
    run = tmp_path / "run"
    run.mkdir()
    place = run / inner
    if inner == ".":
        run.rmdir()
    place.write_text("")
    assert _train(tmp_path, run) == 2
    err = capsys.readouterr().err
    assert f"--model_dir {run} cannot be written: {place} is no folder" in err
    assert "compiled" not in err


def test_what_is_refused_leaves_no_folder_behind(tmp_path, capsys):
    run = tmp_path / "deep" / "run"
    assert _train(tmp_path, run, "task.vocabulary=/nowhere") == 2
    assert _train(tmp_path, run, "trainer.accumulation_steps=3") == 2
    assert not run.parent.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(disk: pathlib.Path, left_bytes: int) -> pathlib.Path:
    ballast, state = disk / "ballast", os.statvfs(disk)
    ballast.write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - left_bytes)))
    return ballast


@pytest.mark.slow
def test_wherever_the_disk_becomes_full_a_run_says_so_and_goes_on_later(small_disk, tmp_path):
    zygote, run = Zygote(tmp_path), small_disk / "run"
    messages = set()
    for left_bytes in (0, 4096, 8192, 12288, 16384, 20480, 24576, 28672):
        assert zygote.run(run, "trainer.train_steps=10")["code"] == 0, zygote.log()
        ballast = _fill(small_disk, left_bytes)
        assert zygote.run(run, "trainer.train_steps=20")["code"] == 2, zygote.log()
        said = zygote.log()
        assert "Traceback" not in said and "No space left on device" in said
        messages.add(said.strip().splitlines()[-1][:60])
        ballast.unlink()
        assert zygote.run(run, "trainer.train_steps=20")["code"] == 0, zygote.log()
        subprocess.run(["rm", "-r", str(run)], check=True)
    zygote.close()
    assert len(messages) > 2, messages


def test_a_second_ctrl_c_ends_at_once_in_a_sentence(tmp_path, capsys, monkeypatch):
    def twice(self, *args):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "train", twice)
    assert _train(tmp_path, tmp_path / "run") == 130
    err = capsys.readouterr().err
    assert err.strip().endswith("mmstack train: interrupted") and "Traceback" not in err


def test_a_dry_run_without_data_counts_from_the_declared_shapes(tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    config = load_config(
        ["configs/vatt/digits_debug.yaml"],
        ["initialize.a.model_dir=runs/none", "runtime.distribution_strategy=tpu"],
    )
    assert run_experiment(config, mode="train_and_eval", model_dir="runs/try", dry=True) == 0
    report = capsys.readouterr().out
    assert "not there, so shapes are as declared: data/digits-single, data/digits" in report
    assert "video: float32[16, 4, 16, 16, 3]" in report
    assert "evaluators.zero_shot is left out: data/digits-single" in report
    assert "initialize.a.model_dir is 'runs/none', which is not there: random weights" in report
    assert "counted as one replica on this machine, which is no TPU" in report
    assert "memory per replica, about:" in report
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]


def test_a_store_that_does_not_answer_is_no_empty_folder(tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    assert _train(tmp_path, run, "trainer.train_steps=5") == 0
    exists, isdir = tf.io.gfile.exists, tf.io.gfile.isdir

    def unreachable(path):
        if str(path).endswith("checkpoints"):
            raise tf.errors.UnavailableError(None, None, "libcurl code 6: cannot resolve host")
        return exists(path)

    monkeypatch.setattr(tf.io.gfile, "exists", unreachable)
    monkeypatch.setattr(
        tf.io.gfile, "isdir", lambda path: isdir(path) and not str(path).endswith("checkpoints")
    )
    capsys.readouterr()
    assert _train(tmp_path, run, "trainer.train_steps=10") == 2
    assert "libcurl code 6: cannot resolve host; check the address" in capsys.readouterr().err
    assert len((run / "metrics.jsonl").read_text().splitlines()) >= 1
