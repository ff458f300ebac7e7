"""Checkpoints of a run: saving, exact resuming, damage, leftovers and the best one."""

import contextlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.failures import one_line
from trainers import distribution
from trainers.atomic_files import write_text
from trainers.config.schema import CheckpointConfig
from trainers.loop.identity import check_identity
from trainers.loop.state import RunState
from trainers.optimization.averages import Averages
from trainers.optimization.optimizers import NamedOptimizer

NAME = "ckpt"
STATE_KEY = "state/.ATTRIBUTES/py_state"
_INDEX = re.compile(rf"^{NAME}-(\d+)\.index$")
# Only files of our own making are ever removed.
_OWN_FILE = re.compile(rf"^{NAME}-(\d+)(_temp.*|\.data-\d+-of-\d+.*|\.index\.tempstate.*)$")
_TEMPORARY = re.compile(r"^\.tmp-|\.tmp$|^checkpoint\.tmp")


def build_checkpoint(
    model: keras.Model,
    optimizers: Mapping[str, NamedOptimizer],
    averages: Averages | None,
    step: tf.Variable,
    state: RunState,
) -> tf.train.Checkpoint:
    """Everything a run needs to go on as if it had not stopped."""
    slots = {
        name: [group.optimizer for group in optimizer.groups]
        for name, optimizer in optimizers.items()
    }
    parts = {"ema": averages.saved} if averages is not None else {}
    return tf.train.Checkpoint(model=model, optimizers=slots, step=step, state=state, **parts)


def list_steps(folder: str) -> list[int]:
    """Steps of the checkpoints in `folder` whose index exists, ascending; does not trust the
    pointer file."""
    if not tf.io.gfile.isdir(folder):
        return []
    matches = (_INDEX.match(name) for name in tf.io.gfile.listdir(folder))
    return sorted(int(match.group(1)) for match in matches if match)


def path_of(folder: str, step: int) -> str:
    """The prefix that TensorFlow calls a checkpoint."""
    return os.path.join(folder, f"{NAME}-{step}")


def read_verified_state(path: str) -> dict[str, Any]:
    """The JSON part of a checkpoint, after every tensor's checksum was found right.

    Raises whatever damaged files make the reader raise.
    """
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
    return json.loads(reader.get_tensor(STATE_KEY))


def clean_leftovers(folder: str) -> list[str]:
    """Removes what interrupted saves left behind, and returns the names."""
    if not tf.io.gfile.isdir(folder):
        return []
    complete = set(list_steps(folder))
    removed = []
    for name in tf.io.gfile.listdir(folder):
        name = name.rstrip("/")
        match = _OWN_FILE.match(name)
        orphan = match and (
            "_temp" in name or ".tempstate" in name or int(match[1]) not in complete
        )
        if orphan or _TEMPORARY.search(name):
            path = os.path.join(folder, name)
            (tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove)(path)
            removed.append(name)
    return removed


class Checkpoints:
    """The checkpoints of one run folder.

    Attributes:
        folder: `<model_dir>/checkpoints`.
    """

    def __init__(
        self,
        model_dir: str,
        checkpoint: tf.train.Checkpoint,
        config: CheckpointConfig,
        strategy: tf.distribute.Strategy,
        report: Callable[[str], None],
    ):
        """Touches no file."""
        self.folder = os.path.join(model_dir, "checkpoints")
        self._best_folder = os.path.join(model_dir, "best")
        self._checkpoint, self._config, self._strategy = checkpoint, config, strategy
        self._report = report
        self._chief = distribution.is_chief(strategy)
        self._manager: tf.train.CheckpointManager | None = None
        self._best_manager: tf.train.CheckpointManager | None = None

    def restore_latest(self, identity: Mapping[str, Any]) -> str | None:
        """Resumes from the newest checkpoint that can be read; None when there is none.

        A damaged one is renamed to `damaged-…`, its reason reported, and the one before it taken.

        Raises:
            UserError: a checkpoint of another experiment, or every checkpoint is damaged.
        """
        if self._chief:
            for folder in (self.folder, self._best_folder):
                for name in clean_leftovers(folder):
                    self._report(f"removed the leftover {os.path.join(folder, name)}")
        steps = list_steps(self.folder)
        for step in reversed(steps):
            path = path_of(self.folder, step)
            # Verified first: a restore that fails half-way would leave half of its weights behind.
            try:
                saved = read_verified_state(path)["identity"]
            # Damaged files make the reader raise anything; each is reported and none is trusted.
            except Exception as error:
                self._report(f"checkpoint {path} is damaged ({_reason(error)}); trying another")
                if self._chief:
                    self._set_aside(step)
                continue
            check_identity(identity, saved, path)
            self.restore(path)
            return path
        if steps:
            raise UserError(
                f"every checkpoint in {self.folder} is damaged; start again in another --model_dir"
            )
        return None

    def restore(self, path: str) -> None:
        """Restores every object. Raises UserError when the model has changed."""
        with self._strategy.scope():
            status = self._checkpoint.restore(path)
            try:
                status.assert_existing_objects_matched()
            except (AssertionError, ValueError) as error:
                raise UserError(
                    f"{path} is a checkpoint of another experiment: its variables are not this "
                    f"model's ({_reason(error)}); give another --model_dir"
                ) from error

    def _set_aside(self, step: int) -> None:
        for name in tf.io.gfile.listdir(self.folder):
            if name == f"{NAME}-{step}.index" or name.startswith(f"{NAME}-{step}.data-"):
                source = os.path.join(self.folder, name)
                target = os.path.join(self.folder, f"damaged-{name}")
                tf.io.gfile.rename(source, target, overwrite=True)

    def save(self, step: int) -> str:
        """Writes a checkpoint and drops those beyond `keep`; does nothing when `step` is saved
        already."""
        if self._manager is None:
            self._manager = self._open(self.folder, self._config.keep)
        if step not in list_steps(self.folder):
            with self._writing(self.folder):
                self._manager.save(checkpoint_number=step)
        return path_of(self.folder, step)

    def save_best(self, step: int, metric: str, value: float) -> None:
        """Replaces the checkpoint in `best/` and describes it in `best/best.json`."""
        if self._best_manager is None:
            self._best_manager = self._open(self._best_folder, 1)
        with self._writing(self._best_folder):
            self._best_manager.save(checkpoint_number=step)
            if self._chief:
                text = json.dumps({"step": step, "metric": metric, "value": value})
                write_text(os.path.join(self._best_folder, "best.json"), text + "\n")

    @contextlib.contextmanager
    def _writing(self, folder: str) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise UserError(
                f"cannot write a checkpoint into {folder} ({_reason(error)}); earlier checkpoints "
                "are intact: make room or rights there and start again"
            ) from error

    def _open(self, folder: str, keep: int) -> tf.train.CheckpointManager:
        if not self._chief:
            # Other workers take part in collective saving, but their copy is of no use.
            folder = tempfile.mkdtemp(prefix="mmstack-worker-")
        elif steps := list_steps(folder):
            # The pointer file may be stale or damaged; what is there decides what is kept.
            paths = [path_of(folder, step) for step in steps]
            tf.compat.v1.train.update_checkpoint_state(folder, paths[-1], paths)
        return tf.train.CheckpointManager(
            self._checkpoint, folder, max_to_keep=keep, checkpoint_name=NAME
        )


def copy_if_best(
    model_dir: str, step: int, scores: Mapping[str, float], config: CheckpointConfig
) -> None:
    """Copies the checkpoint of `step` into `best/` when its score beats the one described there."""
    folder, metric = os.path.join(model_dir, "best"), config.best_metric
    if metric not in scores or not math.isfinite(scores[metric]):
        return
    described = os.path.join(folder, "best.json")
    if tf.io.gfile.exists(described):
        with tf.io.gfile.GFile(described, "r") as file:
            best = json.load(file)["value"]
        if (scores[metric] <= best) if config.best_mode == "max" else (scores[metric] >= best):
            return
    tf.io.gfile.makedirs(folder)
    source = path_of(os.path.join(model_dir, "checkpoints"), step)
    # The index comes last: without it the rest is a leftover.
    names = sorted(tf.io.gfile.glob(f"{source}.data-*")) + [f"{source}.index"]
    for name in names:
        target = os.path.join(folder, os.path.basename(name))
        tf.io.gfile.copy(name, f"{target}.tmp", overwrite=True)
        tf.io.gfile.rename(f"{target}.tmp", target, overwrite=True)
    text = json.dumps({"step": step, "metric": metric, "value": scores[metric]})
    write_text(described, text + "\n")
    for other in set(list_steps(folder)) - {step}:
        for name in tf.io.gfile.glob(f"{path_of(folder, other)}.*"):
            tf.io.gfile.remove(name)


def _reason(error: Exception) -> str:
    return one_line(error) or type(error).__name__
