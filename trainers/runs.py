"""Run folders: building what a config describes, and loading what a run has learned."""

import dataclasses
import os

import keras
import tensorflow as tf

from mm_models.errors import UserError
from trainers import distribution, registry
from trainers.config.schema import ExperimentConfig
from trainers.evaluation.build import build_evaluators
from trainers.evaluation.first_batches import check_inputs as check_evaluated
from trainers.loop import checkpoints
from trainers.loop.inputs import RecordInputs, check_first_batches
from trainers.loop.run_folder import read_config
from trainers.optimization.averages import Averages
from trainers.optimization.optimizers import trained_paths
from trainers.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model and where it comes from.

    Attributes:
        config: the run's resolved experiment.
        task: built from it.
        model: with the checkpoint's weights, or their averages.
        step: training step of the weights.
        checkpoint: path they were read from.
    """

    config: ExperimentConfig
    task: Task
    model: keras.Model
    step: int
    checkpoint: str


def build_task(config: ExperimentConfig) -> Task:
    """The task of `config`. Raises UserError when task and streams do not fit."""
    system = registry.system(config.task.name)
    return registry.resolve(system.task)(config.task, config.streams)


def build_model(task: Task, config: ExperimentConfig) -> keras.Model:
    """The model with initial weights that are a function of `trainer.seed`."""
    keras.utils.set_random_seed(config.trainer.seed & 0x7FFFFFFF)
    with distribution.precision(config.runtime.mixed_precision):
        return task.build_model()


def build_averages(task: Task, model: keras.Model, config: ExperimentConfig) -> Averages | None:
    """Averages of what is trained, or None where the experiment keeps none."""
    if config.trainer.ema.decay <= 0:
        return None
    trained = trained_paths(config.trainer.optimizers, task.variable_groups(model))
    return Averages(config.trainer.ema, model.trainable_variables, trained)


def load_run(model_dir: str, checkpoint: str = "latest", use_ema: bool = True) -> Run:
    """Builds a run's model and restores its weights.

    Args:
        model_dir: run folder with `config.yaml` and `checkpoints/`; may be a remote URL.
        checkpoint: `latest`, `best`, or the path (without suffix) of one checkpoint.
        use_ema: take the averaged weights when the run keeps averages.

    Raises:
        UserError: no run there, no such checkpoint, or one that cannot be read.
    """
    config = read_config(model_dir)
    path = find_checkpoint(model_dir, checkpoint)
    task = build_task(config)
    model = build_model(task, config)
    step = restore_weights(task, model, config, path, use_ema=use_ema)
    return Run(config=config, task=task, model=model, step=step, checkpoint=path)


def check_inputs(model_dir: str) -> dict[str, list[str]]:
    """Looks at the first records of all that a run reads, as it is looked at before training.

    Returns:
        Lines for people by the input's field.

    Raises:
        UserError: no run there, or records of which nothing can be learned.
    """
    config = read_config(model_dir)
    task = build_task(config)
    found = check_first_batches(RecordInputs(), task, config.streams, config.trainer.seed)
    return found | check_evaluated(build_evaluators(config.evaluators, task))


def find_checkpoint(model_dir: str, checkpoint: str) -> str:
    """Path of `latest`, `best` or a given checkpoint. Raises UserError when there is none."""
    if checkpoint in ("latest", "best"):
        folder = os.path.join(model_dir, "checkpoints" if checkpoint == "latest" else "best")
        steps = checkpoints.list_steps(folder)
        if not steps:
            raise UserError(f"{folder} has no checkpoint; train longer, or name another checkpoint")
        return checkpoints.path_of(folder, steps[-1])
    if not tf.io.gfile.exists(f"{checkpoint}.index"):
        raise UserError(
            f"checkpoint {checkpoint} does not exist; use latest, best, or a path such as "
            f"{checkpoints.path_of(os.path.join(model_dir, 'checkpoints'), 1000)}"
        )
    return checkpoint


def restore_weights(
    task: Task, model: keras.Model, config: ExperimentConfig, path: str, *, use_ema: bool = True
) -> int:
    """Restores the model from `path`, averages where kept and wanted; returns the step."""
    averages = build_averages(task, model, config) if use_ema else None
    parts = {"ema": averages.saved} if averages is not None else {}
    step = tf.Variable(0, dtype=tf.int64, trainable=False)
    restored = tf.train.Checkpoint(model=model, step=step, **parts)
    try:
        restored.restore(path).assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"checkpoint {path} cannot be read into this model ({reason}); use another checkpoint"
        ) from error
    if averages is not None:
        averages.assign_to_variables()
    return int(step.numpy())
