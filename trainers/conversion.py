"""Run folders whose weights were trained elsewhere."""

import dataclasses
import os
from collections.abc import Sequence

import keras
import tensorflow as tf

from mm_models.checkpoints import vatt
from mm_models.checkpoints.published import PublishedCheckpoint
from mm_models.errors import UserError
from trainers import runs
from trainers.config import ExperimentConfig, to_yaml
from trainers.loop import checkpoints, run_folder
from trainers.loop.state import RunState
from trainers.optimization.averages import Averages
from trainers.whole_files import write_text

REPORT_FILE = "conversion.json"
# What a checkpoint of such a run calls its experiment, so that nobody resumes it by mistake.
IDENTITY_KEY = "converted_from"


@dataclasses.dataclass(frozen=True)
class Converted:
    """A run folder that was made; `report` says what became of every weight."""

    checkpoint: str
    step: int
    report: vatt.MappingReport


def import_run(
    config: ExperimentConfig, source: str, model_dir: str, allow: Sequence[str] = ()
) -> Converted:
    """Makes a run folder with the weights of a published VATT checkpoint.

    It holds what loading needs (config with its vocabulary files, model, averages where the config
    keeps some) and no optimizer: training goes on in a new run that starts from this one
    (`initialize.model_dir`).

    Args:
        config: experiment whose model the weights are for.
        source: published checkpoint, without suffix.
        model_dir: folder to make.
        allow: regular expressions for keys that may be missing or left over.

    Raises:
        UserError: the folder is a run already, or checkpoint and model do not fit.
    """
    if tf.io.gfile.exists(os.path.join(model_dir, "config.yaml")) or checkpoints.list_steps(
        os.path.join(model_dir, "checkpoints")
    ):
        raise UserError(f"--model_dir={model_dir} holds a run already; name another folder")
    published = PublishedCheckpoint(source)
    run_folder.check_assets(config)
    task = runs.build_task(config)
    config = dataclasses.replace(config, task=task.config)
    with tf.device("CPU:0"):
        model = runs.build_model(task, config)
        report = vatt.import_weights(model, published, allow)
        run_folder.check_writable(model_dir)
        path = _save(model, config, source, model_dir, published.step)
    write_text(os.path.join(model_dir, REPORT_FILE), report.to_json())
    # Last, because a folder with a config is a run.
    run_folder.write_config(config, model_dir)
    return Converted(path, published.step, report)


def _save(
    model: keras.Model, config: ExperimentConfig, source: str, model_dir: str, step: int
) -> str:
    """Writes what `runs.restore_weights` reads, and an identity that no experiment has."""
    parts = {}
    if config.trainer.ema.decay > 0:
        parts["ema"] = Averages(config.trainer.ema, model.trainable_variables).values
    checkpoint = tf.train.Checkpoint(
        model=model,
        step=tf.Variable(step, dtype=tf.int64, trainable=False),
        state=RunState({IDENTITY_KEY: source}, to_yaml(config), config.trainer.seed),
        **parts,
    )
    folder = os.path.join(model_dir, "checkpoints")
    manager = tf.train.CheckpointManager(
        checkpoint, folder, max_to_keep=None, checkpoint_name=checkpoints.NAME
    )
    return manager.save(checkpoint_number=step)
