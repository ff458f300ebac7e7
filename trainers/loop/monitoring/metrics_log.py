"""`metrics.jsonl`, TensorBoard scalars and hyper-parameters of a run."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainers.atomic_files import write_text


class MetricsLog:
    """Writes each log line once, also when a run is resumed from before its last line.

    Scalars have the same name in `metrics.jsonl` and in TensorBoard. Every line is flushed when
    written.
    """

    def __init__(self, model_dir: str, *, enabled: bool, file_name: str = "metrics.jsonl"):
        """With `enabled` false (workers that are not the chief) nothing is written."""
        self._path = os.path.join(model_dir, file_name)
        self._enabled = enabled
        self._writers = {
            kind: tf.summary.create_file_writer(os.path.join(model_dir, kind))
            for kind in (("train", "eval") if enabled else ())
        }

    def resume(self, step: int) -> None:
        """Drops lines of steps after `step`, which will come again, and a torn last line."""
        if not self._enabled or not tf.io.gfile.exists(self._path):
            return
        with tf.io.gfile.GFile(self._path, "r") as file:
            text = file.read()
        kept = "".join(f"{line}\n" for line in text.splitlines() if 0 <= _step_of(line) <= step)
        if kept != text:
            write_text(self._path, kept)

    def steps(self) -> set[int]:
        """Steps that have a line."""
        if not tf.io.gfile.exists(self._path):
            return set()
        with tf.io.gfile.GFile(self._path, "r") as file:
            return {_step_of(line) for line in file.read().splitlines()} - {-1}

    def scores(self, kind: str, step: int) -> dict[str, float]:
        """Scalars of `kind` that were logged at `step`, on any worker; null is no number."""
        if not tf.io.gfile.exists(self._path):
            return {}
        with tf.io.gfile.GFile(self._path, "r") as file:
            lines = [line for line in file.read().splitlines() if _step_of(line) == step]
        return {
            name: math.nan if value is None else value
            for line in lines
            for name, value in json.loads(line).items()
            if name.startswith(f"{kind}/")
        }

    def write(self, kind: str, step: int, scalars: Mapping[str, float]) -> None:
        """Logs scalars of `kind` train or eval; JSON has null where a number is not finite."""
        if not self._enabled:
            return
        values = {
            name: value if math.isfinite(value) else None for name, value in sorted(scalars.items())
        }
        line = json.dumps({"step": step, **values})
        with tf.io.gfile.GFile(self._path, "a") as file:
            file.write(line + "\n")
        with self._writers[kind].as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
        self._writers[kind].flush()

    def writer(self, kind: str) -> tf.summary.SummaryWriter | None:
        """TensorBoard writer of `kind`, for pictures; None on workers that do not write."""
        return self._writers.get(kind)

    def flush(self, kind: str) -> None:
        """Flushes what was written through `writer`."""
        if self._enabled:
            self._writers[kind].flush()

    def hyper_parameters(self, leaves: Mapping[str, Any]) -> None:
        """Shows the experiment's settings in TensorBoard's HParams page."""
        if not self._enabled:
            return
        from tensorboard.plugins.hparams import api

        shown = {
            key: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
            for key, value in leaves.items()
        }
        with self._writers["train"].as_default(step=0):
            api.hparams(shown)

    def close(self) -> None:
        """Flushes and closes the writers."""
        for writer in self._writers.values():
            writer.close()


def _step_of(line: str) -> int:
    """Step of a line; -1 for one that a kill tore apart."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return -1
