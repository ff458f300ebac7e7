"""Every benchmark runs in its smallest form, and results are there as they come."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from benchmarks import __main__ as benchmarks
from tests.repository.source_tree import ROOT

ROW = {"name", "ours", "alternative", "ratio", "aim", "met", "unit"}


@pytest.mark.slow
@pytest.mark.parametrize("module", benchmarks.MODULES)
def test_it_runs_in_its_smallest_form(module, tmp_path):
    output = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", module, "--smallest", f"--output={output}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(output.read_text())["results"]
    assert rows and all(set(row) == ROW for row in rows)


def test_results_are_written_as_they_come_and_survive_an_interruption(
    monkeypatch, tmp_path, capsys
):
    row = dict.fromkeys(ROW, 1.0) | {"name": "a", "unit": "s"}
    output, ran = tmp_path / "results.json", []

    def run(command, **_):
        ran.append(command[3])
        if len(ran) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        if len(ran) == 2:
            return subprocess.CompletedProcess(command, 1)
        child = command[4].removeprefix("--child=")
        pathlib.Path(child).write_text(json.dumps([row]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmarks.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["benchmarks", f"--output={output}"])
    # Shells start what runs in their background deaf to interruptions.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert benchmarks.main() == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert ran == list(benchmarks.MODULES[:3])
    assert json.loads(output.read_text())["results"] == [row]
    assert f"{ran[1]} FAILED" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
