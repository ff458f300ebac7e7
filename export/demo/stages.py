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


class DemoPaths:
    """Where the demo keeps what its stages hand on: data under `data/`, the rest under `root`.

    Attributes:
        stamps: folder of one JSON file per finished stage.
        raw: the generated clips and their manifest.
        new_clip: a clip of another seed, which no stage has read.
        records: the record folder.
        vocabulary: the word table.
        run: the training run.
        evaluation: the evaluation's results.
        exported: the folder of numbered SavedModel versions.
    """

    def __init__(self, root: pathlib.Path):
        self.root, self.stamps, self.new_clip = root, root / "stages", root / "new-clip"
        self.raw, self.records = DATA / "digits-single-raw", DATA / "digits-single"
        self.vocabulary = self.records / "vocabulary.txt"
        self.run, self.evaluation = root / "run", root / "evaluation.json"
        self.exported = root / "exported" / "digits"


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command and what it makes.

    Attributes:
        name: shown while it runs.
        arguments: the words after `mmstack`.
        output: file or folder that must exist afterwards; another command's is removed.
        resumable: keep what an interrupted run left (training goes on from its checkpoint).
    """

    name: str
    arguments: tuple[str, ...]
    output: pathlib.Path
    resumable: bool = False


def build_stages(paths: DemoPaths, args: argparse.Namespace) -> list[Stage]:
    """Every stage up to the exported model."""
    overrides = [f"--set={override}" for override in args.set]
    train = ("train", f"--config_file={args.config_file}", f"--model_dir={paths.run}")
    evaluate = ("eval", f"--model_dir={paths.run}", f"--output={paths.evaluation}")
    export = ("export", f"--model_dir={paths.run}", f"--output={paths.exported}")
    return [
        *_data_stages(paths, args),
        Stage("train", (*train, "--mode=train", *overrides), paths.run, resumable=True),
        Stage("evaluate", evaluate, paths.evaluation),
        Stage("export", export, paths.exported),
    ]


def _data_stages(paths: DemoPaths, args: argparse.Namespace) -> list[Stage]:
    manifest = f"--manifest={paths.raw / 'manifest.jsonl'}"
    sizes = [f"--num_{split}={getattr(args, f'num_{split}')}" for split in ("train", "val", "test")]
    single = ("corpus", "digits", "--preset=single")
    one_clip = ("--seed=1000", "--num_train=0", "--num_val=0", "--num_test=1")
    frames = ("--frame_rate_hz=8", "--short_side=32")
    sound = ("--sample_rate_hz=16000", "--audio_encoding=pcm16")
    preprocess = ("preprocess", manifest, f"--output={paths.records}", *frames, *sound)
    vocabulary = ("vocabulary", manifest, "--kind=word", f"--output={paths.vocabulary}")
    new_clip = (*single, f"--output={paths.new_clip}", *one_clip)
    return [
        Stage("generate spoken digits", (*single, f"--output={paths.raw}", *sizes), paths.raw),
        Stage("generate a new clip", new_clip, paths.new_clip),
        Stage("preprocess", preprocess, paths.records),
        Stage("build the vocabulary", vocabulary, paths.vocabulary),
    ]


def run_stages(stages: list[Stage], paths: DemoPaths) -> None:
    """Runs what is not done; a stage that runs makes every later one run again.

    Raises:
        UserError: a command failed; its own message stands above.
    """
    renewed = False
    for number, stage in enumerate(stages, 1):
        label = f"[{number}/{len(stages) + 1}] {stage.name}"
        stamp = _read_stamp(stage, paths)
        if not renewed and stamp.get("done") and stage.output.exists():
            print(f"{label}: done before, skipped", flush=True)
            continue
        if renewed or not stage.resumable or not stamp:
            _remove(stage.output)
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


def _remove(output: pathlib.Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)
