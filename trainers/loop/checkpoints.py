"""Checkpoints of a run: saving, exact resuming, damage, leftovers and the best one."""

import contextlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
    pointer file.

    Raises:
        tf.errors.OpError: a store that does not answer, which `isdir` takes for an absent folder.
    """
    if not tf.io.gfile.exists(folder):
        return []
    matches = (_INDEX.match(name) for name in tf.io.gfile.listdir(folder))
    return sorted(int(match.group(1)) for match in matches if match)


def path_of(folder: str, step: int) -> str:
    """The prefix that TensorFlow calls a checkpoint."""
    return os.path.join(folder, f"{NAME}-{step}")


def read_state(path: str, *, verify: bool) -> dict[str, Any]:
    """The JSON part of a checkpoint, after every tensor's checksum was found right if `verify`.

    Raises whatever damaged files make the reader raise.
    """
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map() if verify else ():
        reader.get_tensor(name)
    return json.loads(reader.get_tensor(STATE_KEY))


def clean_leftovers(folder: str) -> list[str]:
    """Removes what interrupted saves left behind, and returns the names."""
    if not tf.io.gfile.exists(folder):
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
        self._model_dir, self._best_folder = model_dir, os.path.join(model_dir, "best")
        self._checkpoint, self._config, self._strategy = checkpoint, config, strategy
        self._report = report
        self._chief = distribution.is_chief(strategy)
        self._manager: tf.train.CheckpointManager | None = None
        self._best_manager: tf.train.CheckpointManager | None = None

    def restore(self, state: RunState, task: type) -> str | None:
        """Resumes from the newest checkpoint that can be read, or from that of `state.from_step`;
        None when there is none.

        Newer ones are renamed: `damaged-…` where they cannot be read, with the reason reported, and
        `left-…` where the run goes back behind them.

        Args:
            state: of this run, before its first step.
            task: dataclass of the task's config.

        Raises:
            UserError: a checkpoint of another experiment, every checkpoint is damaged, or there is
                none of that step.
        """
        if self._chief:
            for folder in (self.folder, self._best_folder):
                for name in clean_leftovers(folder):
                    self._report(f"removed the leftover {os.path.join(folder, name)}")
        damaged: dict[int, str] = {}
        steps = list_steps(self.folder)
        for step in reversed(self._candidates(steps, state)):
            path = path_of(self.folder, step)
            try:
                saved = read_state(path, verify=True)
            # Damaged files make the reader raise anything; each is reported and none is trusted.
            except Exception as error:
                _check_is_damage(error, path)
                damaged[step] = _reason(error)
                self._report(f"checkpoint {path} is damaged ({damaged[step]}); trying another")
                continue
            notes = check_identity(state.identity, saved["identity"], task, path)
            self._load(path)
            if self._chief:
                self._set_aside(damaged, "damaged")
                self._set_aside([each for each in steps if each > step], "left")
            self._report(f"resumed from {path}" + "".join(f"\n  with {note}" for note in notes))
            return path
        self._refuse_damage(damaged)
        return None

    def _candidates(self, steps: Sequence[int], state: RunState) -> Sequence[int]:
        """Steps that may be resumed from, ascending."""
        wanted = state.from_step
        if wanted is None:
            return steps
        if wanted not in steps:
            raise UserError(
                f"--from_step is {wanted}, but {self.folder} has checkpoints of the steps "
                f"{list(steps)}; choose one of them"
            )
        with contextlib.suppress(Exception):
            # A damaged one is reported when its turn comes.
            newest = read_state(path_of(self.folder, steps[-1]), verify=False)
            if (newest["from_step"], newest["config_yaml"]) == (wanted, state.config_yaml):
                # The same command once more, after it was stopped.
                return steps
        return [step for step in steps if step <= wanted]

    def _refuse_damage(self, damaged: Mapping[int, str]) -> None:
        """Raises UserError when there are checkpoints, now or from an earlier start, but none that
        can be read."""
        renamed = tf.io.gfile.glob(os.path.join(self.folder, f"damaged-{NAME}-*.index"))
        if damaged or renamed:
            reasons = [f"step {step}: {reason}" for step, reason in damaged.items()]
            raise UserError(
                f"every checkpoint in {self.folder} is damaged "
                f"({'; '.join(reasons) or 'and was set aside'}); put a sound copy back, or remove "
                "that folder to start again at step 0, or give another --model_dir"
            )

    def _load(self, path: str) -> None:
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

    def _set_aside(self, steps: Collection[int], why: str) -> None:
        """Renames what belongs to `steps` to `<why>-…`, in the place of what was left before."""
        if steps and why == "left":
            for path in tf.io.gfile.glob(os.path.join(self.folder, f"{why}-{NAME}-*")):
                tf.io.gfile.remove(path)
        for step in steps:
            for source in files_of(self.folder, step):
                folder, name = os.path.split(source)
                target = os.path.join(folder, f"{why}-{name}")
                tf.io.gfile.rename(source, target, overwrite=True)

    def has(self, step: int) -> bool:
        """Whether there is a checkpoint of that step."""
        return step in list_steps(self.folder)

    def save(self, step: int, sound_step: int | None = None) -> None:
        """Writes a checkpoint and drops those beyond `keep`.

        Args:
            step: names it.
            sound_step: that of a checkpoint which is to be kept however old it is, where two or
                more are.
        """
        if self._manager is None:
            self._manager = self._open(self.folder)
        with self._writing(self.folder):
            self._manager.save(checkpoint_number=step)
            if self._chief:
                self._drop_old(sound_step)

    def _drop_old(self, sound_step: int | None) -> None:
        """Leaves `keep` checkpoints, whatever run or process wrote them."""
        steps, keep = list_steps(self.folder), self._config.keep
        kept = steps[-keep:]
        if sound_step in steps and sound_step not in kept and keep > 1:
            kept = [sound_step, *kept[1:]]
        for step in set(steps) - set(kept):
            remove(self.folder, step)

    def save_best(self, step: int, metric: str, value: float) -> None:
        """Replaces the checkpoint in `best/` and describes it in `best/best.json`."""
        if self._best_manager is None:
            self._best_manager = self._open(self._best_folder)
        with self._writing(self._best_folder):
            self._best_manager.save(checkpoint_number=step)
            if self._chief:
                _describe_best(self._best_folder, step, metric, value)

    def copy_best(self, step: int, metric: str, value: float) -> None:
        """Does what `save_best` does from the checkpoint of `step`, where that was not done yet."""
        if self._chief and read_best(self._best_folder).get("step") != step:
            with self._writing(self._best_folder):
                _copy(self._model_dir, step, metric, value)

    @contextlib.contextmanager
    def _writing(self, folder: str) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            raise UserError(
                f"cannot write a checkpoint into {folder} ({_reason(error)}); earlier checkpoints "
                "are intact: make room or rights there and start again"
            ) from error

    def _open(self, folder: str) -> tf.train.CheckpointManager:
        if not self._chief:
            # Other workers take part in collective saving, but their copy is of no use.
            folder = tempfile.mkdtemp(prefix="mmstack-worker-")
        elif tf.io.gfile.exists(pointer := os.path.join(folder, "checkpoint")):
            # It may be stale or damaged, and is written anew with the next checkpoint.
            tf.io.gfile.remove(pointer)
        # What the chief keeps is decided here, by what is there.
        keep = None if self._chief else 1
        return tf.train.CheckpointManager(
            self._checkpoint, folder, max_to_keep=keep, checkpoint_name=NAME
        )


def files_of(folder: str, step: int) -> list[str]:
    """Files of a checkpoint, its index last: without it the rest is a leftover."""
    path = path_of(folder, step)
    return [*sorted(tf.io.gfile.glob(f"{path}.data-*")), *tf.io.gfile.glob(f"{path}.index")]


def remove(folder: str, step: int) -> None:
    """Removes a checkpoint, its index first."""
    for name in reversed(files_of(folder, step)):
        tf.io.gfile.remove(name)


def read_best(folder: str) -> dict[str, Any]:
    """What `best.json` says; empty where there is none. Raises UserError for a damaged one."""
    path = os.path.join(folder, "best.json")
    if not tf.io.gfile.exists(path):
        return {}
    with tf.io.gfile.GFile(path, "r") as file:
        text = file.read()
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({_reason(error)}); remove {folder}, and the next best checkpoint "
            "makes it anew"
        ) from error


def copy_if_best(
    model_dir: str, step: int, scores: Mapping[str, float], config: CheckpointConfig
) -> None:
    """Copies the checkpoint of `step` into `best/` when its score beats the one described there."""
    metric = config.best_metric
    if metric not in scores or not math.isfinite(scores[metric]):
        return
    best = read_best(os.path.join(model_dir, "best"))
    if best.get("metric") == metric:
        sign = 1.0 if config.best_mode == "max" else -1.0
        if sign * scores[metric] <= sign * best["value"]:
            return
    _copy(model_dir, step, metric, scores[metric])


def _copy(model_dir: str, step: int, metric: str, value: float) -> None:
    folder = os.path.join(model_dir, "best")
    tf.io.gfile.makedirs(folder)
    for name in files_of(os.path.join(model_dir, "checkpoints"), step):
        target = os.path.join(folder, os.path.basename(name))
        tf.io.gfile.copy(name, f"{target}.tmp", overwrite=True)
        tf.io.gfile.rename(f"{target}.tmp", target, overwrite=True)
    _describe_best(folder, step, metric, value)


def _describe_best(folder: str, step: int, metric: str, value: float) -> None:
    """Says which checkpoint `best/` holds, and removes those that it held before."""
    text = json.dumps({"step": step, "metric": metric, "value": value})
    write_text(os.path.join(folder, "best.json"), text + "\n")
    for other in set(list_steps(folder)) - {step}:
        remove(folder, other)


# What goes wrong with a disk, a network or a machine, and says nothing of the files.
_PASSING = (
    *(tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError),
    *(tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError, tf.errors.CancelledError),
    *(tf.errors.ResourceExhaustedError, OSError, MemoryError),
)
_PASSING_WORDS = re.compile(
    "UNAVAILABLE|DEADLINE_EXCEEDED|PERMISSION_DENIED|UNAUTHENTICATED|RESOURCE_EXHAUSTED|"
    "Permission denied|Too many open files|Input/output error"
)


def _check_is_damage(error: Exception, path: str) -> None:
    """Raises UserError for an error that another try may not have, so that no sound checkpoint is
    set aside for it."""
    if isinstance(error, _PASSING) or _PASSING_WORDS.search(str(error)):
        raise UserError(
            f"checkpoint {path} cannot be read now ({_reason(error)}); look at the disk or the "
            "rights, and start the same command again"
        ) from error


def _reason(error: Exception) -> str:
    return one_line(error) or type(error).__name__
