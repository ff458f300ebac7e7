"""Two trainers of one run folder."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from mm_models.errors import UserError
from tests.trainers.loop.support import run_toy, toy_config
from trainers.loop import checkpoints, modes, training
from trainers.loop.resuming import lease
from trainers.loop.resuming.lease import FILE, Holder, Lease


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in (("RENEW", 0.05), ("EXPIRY", 0.5), ("POLL", 0.02), ("SETTLE", 0.3)):
        monkeypatch.setattr(lease, f"{name}_SECONDS", seconds)


def _own() -> Holder:
    return Lease("nowhere", print)._own


def _hold(folder: pathlib.Path, **fields) -> None:
    folder.mkdir(exist_ok=True)
    holder = dataclasses.replace(_own(), token="another", **fields)
    (folder / FILE).write_text(json.dumps(dataclasses.asdict(holder)))


def _gone() -> dict:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return {"pid": process.pid, "process_start": "1"}


def test_a_second_trainer_is_refused_before_it_builds_anything(tmp_path, monkeypatch):
    run, refused, built = tmp_path / "run", [], []
    plain = modes.assemble
    monkeypatch.setattr(modes, "assemble", lambda *a, **k: built.append(1) or plain(*a, **k))

    class Second(training.Training):
        """Starts another trainer while this one trains."""

        def _save(self):
            with pytest.raises(UserError) as error:
                run_toy(toy_config(tmp_path), run)
            refused.append(str(error.value))
            super()._save()

    monkeypatch.setattr(modes, "Training", Second)
    assert run_toy(toy_config(tmp_path), run) == 0
    assert len(refused) >= 2 and len(built) == 1
    assert f"process {os.getpid()} on " in refused[0] and f"--model_dir {run}" in refused[0]
    assert not (run / FILE).exists()
    # Whatever ends a run gives the folder free.
    with pytest.raises(UserError):
        run_toy(toy_config(tmp_path, "trainer.seed=9", "trainer.train_steps=25"), run)
    assert not (run / FILE).exists()


def test_what_a_dead_process_left_is_taken_over_at_once(tmp_path):
    said = []
    for fields in (_gone(), {"process_start": "1"}):
        _hold(tmp_path, **fields)
        taken = Lease(str(tmp_path), said.append)
        taken.take()
        assert "left" in said.pop()
        taken.give_back()
    assert not list(tmp_path.iterdir())


def test_a_living_process_is_never_robbed(tmp_path):
    parent = os.getppid()
    _hold(tmp_path, pid=parent, process_start=lease._process_start(parent))
    before = (tmp_path / FILE).read_text()
    with pytest.raises(UserError, match=f"process {parent} on .* trains in"):
        Lease(str(tmp_path), print).take()
    assert (tmp_path / FILE).read_text() == before


@pytest.mark.parametrize("text", [None, "", "[1]", '{"host": '])
def test_a_holder_of_another_machine_is_watched(tmp_path, text):
    _hold(tmp_path, machine="another boot", host="far")
    if text is not None:
        (tmp_path / FILE).write_text(text)
    said = []
    taken = Lease(str(tmp_path), said.append)
    start = time.monotonic()
    taken.take()
    assert time.monotonic() - start >= lease.EXPIRY_SECONDS
    assert "waiting up to" in said[0]
    taken.give_back()


def test_a_holder_of_another_machine_that_renews_stays(tmp_path, monkeypatch):
    first = Lease(str(tmp_path), print)
    first.take()
    # Seen from another machine, nothing is known of the process.
    monkeypatch.setattr(lease, "_machine", lambda: "another boot")
    with pytest.raises(UserError, match="trains in"):
        Lease(str(tmp_path), print).take()
    first.check()
    first.give_back()


def test_of_many_that_start_at_once_one_gets_the_folder(tmp_path):
    for fields in ({}, _gone()):
        if fields:
            _hold(tmp_path, **fields)
        leases = [Lease(str(tmp_path), lambda line: None) for _ in range(8)]
        outcomes = []

        def take(one, outcomes=outcomes):
            try:
                one.take()
                outcomes.append(one)
            except UserError:
                outcomes.append(None)

        threads = [threading.Thread(target=take, args=(one,)) for one in leases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [one for one in outcomes if one is not None]
        winner.check()
        for one in leases:
            one.give_back()
        assert not list(tmp_path.iterdir())


def test_a_trainer_that_was_robbed_in_its_sleep_writes_nothing_more(tmp_path, monkeypatch):
    run = tmp_path / "run"
    save = checkpoints.Checkpoints.save

    def rob(self, step, *args):
        save(self, step, *args)
        _hold(run)

    monkeypatch.setattr(checkpoints.Checkpoints, "save", rob)
    with pytest.raises(UserError, match="must not write there any more"):
        run_toy(toy_config(tmp_path), run)
    assert checkpoints.list_steps(str(run / "checkpoints")) == [10]
    assert json.loads((run / FILE).read_text())["token"] == "another"


def test_evaluations_and_dry_runs_need_no_lease(tmp_path, capsys):
    run = tmp_path / "run"
    run_toy(toy_config(tmp_path, "trainer.train_steps=2"), run)
    parent = os.getppid()
    _hold(run, pid=parent, process_start=lease._process_start(parent))
    assert run_toy(toy_config(tmp_path), run, mode="eval") == 0
    assert run_toy(toy_config(tmp_path), run, dry=True) == 0
