"""The command line as a whole: cheap help, one sentence for mistakes, exit code 2."""

import argparse
import errno
import os
import pathlib
import subprocess
import sys

import pytest

import mmstack

ROOT = pathlib.Path(__file__).parents[2]
HELP_OF_EVERY_COMMAND = """
import contextlib, io, sys
import mmstack
for name in [None, *mmstack.COMMANDS]:
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        mmstack.main([*([name] if name else []), "--help"])
    assert "usage: mmstack" in text.getvalue(), name
heavy = {"tensorflow", "keras", "apache_beam", "av"} & set(sys.modules)
print(sorted(heavy))
"""


def test_help_of_every_command_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_EVERY_COMMAND], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


MISTAKES = {
    "no manifest": (
        "preprocess",
        "--manifest=missing.jsonl",
        "--output=records",
    ),
    "no records to compute features of": (
        "features",
        "--records=missing",
        "--encoder=missing",
        "--output=features",
    ),
    "no config": ("train", "--config_file=missing.yaml", "--model_dir=run"),
    "no run": ("eval", "--model_dir=missing"),
    "no run to export": ("export", "--model_dir=missing", "--output=exported"),
    "nothing to serve": ("serve", "--export_dir=missing"),
    "no media": ("query", "--video=missing.mp4", "--name=vatt"),
    "no records": ("inspect", "--data=missing"),
    "no run to ask": ("predict", "--model_dir=missing", "--text=three"),
    "no config to convert for": (
        "convert",
        "--from=vatt",
        "--checkpoint=missing",
        "--config_file=missing.yaml",
        "--model_dir=run",
    ),
    "no run to convert": ("convert", "--to=vatt", "--model_dir=missing", "--output=published"),
}


@pytest.mark.parametrize("words", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert mmstack.main(list(words)) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith(f"mmstack {words[0]}: ")
    assert "missing" in message
    assert "Traceback" not in message and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_an_unknown_flag_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        mmstack.main(["doctor", "--colour=blue"])
    assert stopped.value.code == 2
    assert "--colour=blue" in capsys.readouterr().err


def test_a_command_that_is_interrupted_or_fails_around_it_ends_in_a_sentence(monkeypatch, capsys):
    from beam_pipelines.commands import inspect

    def raising(error):
        def run(args):
            raise error

        return run

    for error, code, words in [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "", "data/x"), 2, "data/x: No space left on device; make room"),
    ]:
        monkeypatch.setattr(inspect, "run", raising(error))
        assert mmstack.main(["inspect", "--data=records"]) == code
        assert capsys.readouterr().err.startswith(f"mmstack inspect: {words}")
    monkeypatch.setattr(inspect, "run", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        mmstack.main(["inspect", "--data=records"])


def test_a_reader_that_has_gone_ends_a_command_without_a_word(tmp_path):
    code = "import os, sys, mmstack; os.close(1); os.dup2(int(sys.argv[1]), 1); "
    code += "mmstack._run = lambda *_: print('x' * 10**6) or 0; sys.exit(mmstack.main(['doctor']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code, str(writing)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[writing],
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_mistake_is_the_only_line_on_a_machine_without_a_gpu(tmp_path):
    """In a fresh process, TensorFlow and its devices started."""
    config = tmp_path / "experiment.yaml"
    config.write_text("name: x\ntask: {name: vatt}\nstreams: {clips: {input: {batch_size: 2}}}\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TF_CPP", "CUDA_VIS"))}
    done = subprocess.run(
        [sys.executable, "-m", "mmstack", "train", f"--config_file={config}", "--model_dir=run"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mmstack train: ") and done.stderr.count("\n") == 1, done.stderr


def _parsers(parser):
    """A parser and those of its parts."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part in action.choices.values():
                yield from _parsers(part)


@pytest.mark.parametrize("name", mmstack.COMMANDS)
def test_help_tells_every_default(name):
    parser = mmstack.build_parser([name])
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for part in _parsers(commands.choices[name]):
        text = " ".join(part.format_help().split("options:")[-1].split())
        for action in part._actions:
            default = action.default
            silent = isinstance(default, bool) or default in (None, "", [], (), argparse.SUPPRESS)
            if silent or action.help is argparse.SUPPRESS:
                continue
            told = " ".join((action.help or "").split()).replace("%(default)s", str(default))
            assert "default" in told and told in text, (name, action.dest)
