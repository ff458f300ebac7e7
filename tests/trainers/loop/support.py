"""Toy runs inside the test process."""

import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tests.trainers import toy_task
from trainers.config.loading import load_config
from trainers.config.schema import ExperimentConfig
from trainers.loop import checkpoints
from trainers.loop.modes import run_experiment

YAML = """
name: toy
task: {name: toy}
streams:
  main: {input: {batch_size: 16}}
evaluators:
  toy: {kind: toy_distance}
trainer:
  train_steps: 20
  steps_per_loop: 5
  checkpoint: {interval_steps: 10}
  summaries: {log_interval_steps: 5}
runtime: {peak_flops_per_second: 1.0e9}
"""


def toy_config(folder: pathlib.Path, *overrides: str, text: str = YAML) -> ExperimentConfig:
    """The toy experiment with overrides."""
    toy_task.register()
    path = folder / "toy.yaml"
    path.write_text(text)
    return load_config([str(path)], list(overrides))


def run_toy(
    config: ExperimentConfig,
    model_dir: Any,
    mode: str = "train",
    dry: bool = False,
    from_step: int | None = None,
) -> int:
    """Runs it in this process."""
    inputs = toy_task.ToyInputs()
    return run_experiment(
        config, mode=mode, model_dir=str(model_dir), dry=dry, from_step=from_step, inputs=inputs
    )


def tensors(model_dir: Any, step: int, folder: str = "checkpoints") -> dict[str, np.ndarray]:
    """Every tensor of a checkpoint, but for its counter of saves and the JSON part."""
    reader = tf.train.load_checkpoint(checkpoints.path_of(f"{model_dir}/{folder}", step))
    skipped = ("save_counter", checkpoints.STATE_KEY, "_CHECKPOINTABLE_OBJECT_GRAPH")
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not name.startswith(skipped)
    }


def assert_same_tensors(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    """Bit by bit."""
    assert left.keys() == right.keys()
    different = [name for name in left if left[name].tobytes() != right[name].tobytes()]
    assert not different


def metric_lines(model_dir: Any, file_name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    """Lines of `metrics.jsonl`."""
    return [
        json.loads(line) for line in (pathlib.Path(model_dir) / file_name).read_text().splitlines()
    ]


def losses(model_dir: Any) -> dict[int, float]:
    """Logged loss by step; fails when a step has two lines."""
    lines = [line for line in metric_lines(model_dir) if "train/loss" in line]
    by_step = {line["step"]: line["train/loss"] for line in lines}
    assert len(by_step) == len(lines)
    return by_step
