"""The demo's stages: one `mmstack` command each, skipped when the same command is already done."""

import argparse
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import time

from mm_models.errors import UserError

# Where the demo's experiment looks for records; relative to the folder the command runs in.
DATA = pathlib.Path("data")


@dataclasses.dataclass(frozen=True)
class DemoPaths:
    """Where the demo keeps what its stages hand on: data under `data/`, the rest under `root`."""

    root: pathlib.Path

    @property
    def stamps(self) -> pathlib.Path:
        """Folder of one JSON file per finished stage."""
        return self.root / "stages"

    @property
    def raw(self) -> pathlib.Path:
        """The generated clips and their manifest."""
        return DATA / "digits-single-raw"

    @property
    def new_clip(self) -> pathlib.Path:
        """A clip of another seed, which no stage has read."""
        return self.root / "new-clip"

    @property
    def records(self) -> pathlib.Path:
        """The record folder."""
        return DATA / "digits-single"

    @property
    def vocabulary(self) -> pathlib.Path:
        """The word table."""
        return self.records / "vocabulary.txt"

    @property
    def run(self) -> pathlib.Path:
        """The training run."""
        return self.root / "run"

    @property
    def evaluation(self) -> pathlib.Path:
        """The evaluation's results."""
        return self.root / "evaluation.json"

    @property
    def exported(self) -> pathlib.Path:
        """The folder of numbered SavedModel versions."""
        return self.root / "exported" / "digits"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command and what it makes.

    Attributes:
        name: shown while it runs.
        arguments: the words after `mmstack`.
        outputs: files or folders that must exist afterwards; another command's are removed.
        resumable: keep what an interrupted run left (training goes on from its checkpoint).
    """

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[pathlib.Path, ...]
    resumable: bool = False


def build_stages(paths: DemoPaths, args: argparse.Namespace) -> list[Stage]:
    """Every stage up to the exported model."""
    return [
        *_data_stages(paths, args),
        Stage("train", _train_arguments(paths, args), (paths.run,), resumable=True),
        Stage(
            "evaluate",
            ("eval", f"--model_dir={paths.run}", f"--output={paths.evaluation}"),
            (paths.evaluation,),
        ),
        Stage(
            "export",
            ("export", f"--model_dir={paths.run}", f"--output={paths.exported}"),
            (paths.exported,),
        ),
    ]


def _data_stages(paths: DemoPaths, args: argparse.Namespace) -> list[Stage]:
    manifest = paths.raw / "manifest.jsonl"
    sizes = [f"--num_{split}={getattr(args, f'num_{split}')}" for split in ("train", "val", "test")]
    single = ("corpus", "digits", "--preset=single")
    return [
        Stage("generate spoken digits", (*single, f"--output={paths.raw}", *sizes), (paths.raw,)),
        Stage(
            "generate a new clip",
            (*single, f"--output={paths.new_clip}", "--seed=1000", *_one_test_clip()),
            (paths.new_clip,),
        ),
        Stage(
            "preprocess",
            (
                "preprocess",
                f"--manifest={manifest}",
                f"--output={paths.records}",
                "--frame_rate_hz=8",
                "--short_side=32",
                "--sample_rate_hz=16000",
                "--audio_encoding=pcm16",
            ),
            (paths.records,),
        ),
        Stage(
            "build the vocabulary",
            ("vocabulary", f"--manifest={manifest}", "--kind=word", f"--output={paths.vocabulary}"),
            (paths.vocabulary,),
        ),
    ]


def _one_test_clip() -> tuple[str, ...]:
    return ("--num_train=0", "--num_val=0", "--num_test=1")


def _train_arguments(paths: DemoPaths, args: argparse.Namespace) -> tuple[str, ...]:
    return (
        "train",
        f"--config_file={args.config_file}",
        f"--model_dir={paths.run}",
        "--mode=train",
        *(f"--set={override}" for override in args.set),
    )


def run_stages(stages: list[Stage], paths: DemoPaths) -> None:
    """Runs what is not done; a stage that runs makes every later one run again.

    Raises:
        UserError: a command failed; its own message stands above.
    """
    renewed = False
    for number, stage in enumerate(stages, 1):
        label = f"[{number}/{len(stages) + 1}] {stage.name}"
        stamp = _read_stamp(stage, paths)
        if not renewed and stamp.get("done") and all(path.exists() for path in stage.outputs):
            print(f"{label}: done before, skipped", flush=True)
            continue
        if renewed or not stage.resumable or not stamp:
            _remove(stage.outputs)
        seconds = _run_stage(stage, label, paths)
        print(f"{label}: {seconds:.0f} s", flush=True)
        renewed = True


def _run_stage(stage: Stage, label: str, paths: DemoPaths) -> float:
    print(label, flush=True)
    _write_stamp(stage, paths, done=False, seconds=0.0)
    start = time.monotonic()
    command = [sys.executable, "-m", "mmstack", *stage.arguments]
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        raise UserError(
            f"stage {stage.name!r} ended with exit code {status}; its message stands above; "
            "run the demo again to go on from here"
        )
    seconds = time.monotonic() - start
    _write_stamp(stage, paths, done=True, seconds=seconds)
    return seconds


def _stamp_path(stage: Stage, paths: DemoPaths) -> pathlib.Path:
    return paths.stamps / f"{stage.name.replace(' ', '_')}.json"


def _read_stamp(stage: Stage, paths: DemoPaths) -> dict:
    path = _stamp_path(stage, paths)
    stamp = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return stamp if stamp.get("arguments") == list(stage.arguments) else {}


def _write_stamp(stage: Stage, paths: DemoPaths, *, done: bool, seconds: float) -> None:
    stamp = {"arguments": stage.arguments, "done": done, "seconds": seconds}
    path = _stamp_path(stage, paths)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(json.dumps(stamp), encoding="utf-8")
    temporary.replace(path)


def _remove(outputs: tuple[pathlib.Path, ...]) -> None:
    for output in outputs:
        if output.is_dir():
            shutil.rmtree(output)
        else:
            output.unlink(missing_ok=True)
