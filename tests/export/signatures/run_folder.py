"""A run folder with an untrained model, as training would leave it."""

import pathlib
from typing import Any

import tensorflow as tf

from trainers.config.loading import to_yaml
from trainers.config.schema import ExperimentConfig


def write_run_folder(folder: pathlib.Path, config: ExperimentConfig, model: Any, step: int) -> str:
    """Writes config and checkpoint to `run` in a folder. Returns its path."""
    run = folder / "run"
    run.mkdir()
    (run / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    variable = tf.Variable(step, dtype=tf.int64, trainable=False)
    checkpoint = tf.train.Checkpoint(model=model, step=variable)
    tf.train.CheckpointManager(checkpoint, str(run / "checkpoints"), 1).save(step)
    return str(run)
