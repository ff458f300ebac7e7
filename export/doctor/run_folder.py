"""A training run: config, checkpoints, metrics."""

import json
import posixpath
from collections.abc import Iterator

import tensorflow as tf

from export.doctor.findings import Finding, left_over, note, ok, problem
from mm_models.errors import UserError
from trainers import runs
from trainers.config.loading import load_config

FOLDERS = ("checkpoints", "best")


def check_run(model_dir: str) -> Iterator[Finding]:
    """Findings about `model_dir`, which may be a remote URL."""
    config_file = posixpath.join(model_dir, "config.yaml")
    if not tf.io.gfile.exists(config_file):
        yield problem(model_dir, "no config.yaml", "give the --model_dir of `mmstack train`")
        return
    try:
        config = load_config([config_file], trains=False)
    except UserError as error:
        yield problem(config_file, str(error), "restore the file; a run's config is not edited")
    else:
        yield ok(config_file, f"experiment {config.name!r}")
        yield from _check_inputs(model_dir)
    for folder in FOLDERS:
        yield from _check_checkpoints(posixpath.join(model_dir, folder), folder)
    yield from _check_metrics(posixpath.join(model_dir, "metrics.jsonl"))


def _check_inputs(model_dir: str) -> Iterator[Finding]:
    """What the run's inputs hold; they may be elsewhere by now, or not be needed any more."""
    try:
        for field, lines in runs.check_inputs(model_dir).items():
            yield ok(field, "; ".join(line.strip() for line in lines))
    except UserError as error:
        message, _, remedy = str(error).rpartition("; ")
        yield note(f"{model_dir}, its data", message or remedy, remedy)


def _check_checkpoints(folder: str, role: str) -> Iterator[Finding]:
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.exists(folder) else []
    indexes = sorted(name for name in names if name.endswith(".index"))
    if not indexes:
        if role == "checkpoints":
            remedy = "train until the first checkpoint (trainer.checkpoint.interval_steps)"
            yield note(folder, "no checkpoint yet", remedy)
        return
    damaged = 0
    for name in indexes:
        path = posixpath.join(folder, name.removesuffix(".index"))
        reason = _damage(path)
        if reason:
            damaged += 1
            yield problem(path, f"damaged: {reason}", "delete it; training goes on from another")
    if damaged < len(indexes):
        yield ok(folder, f"{len(indexes) - damaged} of {len(indexes)} checkpoints are readable")
    unfinished = [name for name in names if name.startswith(".tmp-") or "_temp" in name]
    yield from left_over(folder, unfinished)


def _damage(path: str) -> str:
    """Why a checkpoint cannot be read, every tensor included; empty when it can."""
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ""


def _check_metrics(file: str) -> Iterator[Finding]:
    if not tf.io.gfile.exists(file):
        yield note(file, "missing", "nothing was logged yet")
        return
    with tf.io.gfile.GFile(file) as stream:
        lines = [line for line in stream.read().splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except ValueError:
            # The last line may be half written when the machine went down.
            level = note if number == len(lines) else problem
            yield level(file, f"line {number} is no JSON", "delete the line")
            return
    yield ok(file, f"{len(lines)} lines")
