"""A contrastive toy system for the loop's tests: two towers over synthetic vectors, and its own
CLI.

Run as `python -m tests.trainers.toy_task --config_file=… --model_dir=…` it is `mmstack train` for
the toy.
"""

import dataclasses
import sys

import keras
import numpy as np
import tensorflow as tf

from mm_models.config_tools import travelling_file
from mm_models.losses.term import Term
from trainers import registry
from trainers.evaluation.base import Evaluator
from trainers.evaluation.config import EvaluatorConfig
from trainers.tasks.base import Task
from trainers.tasks.terms import StepTerms

DIM = 8


@dataclasses.dataclass
class ToyTaskConfig:
    name: str = "toy"
    width: int = 16
    temperature: float = 0.5
    contrastive: bool = True
    batch_norm: bool = False
    dropout_rate: float = 0.0
    nan_from_step: int = -1
    large_from_step: int = -1
    vocabulary: str = travelling_file("make it with `mmstack vocabulary`")


@keras.saving.register_keras_serializable(package="toy")
class ToyModel(keras.Model):
    def __init__(self, width: int, batch_norm: bool, **kwargs):
        super().__init__(**kwargs)
        self.left = keras.Sequential(
            [
                keras.layers.Dense(width, activation="gelu", name="inner"),
                keras.layers.Dense(DIM, name="outer"),
            ],
            name="left",
        )
        self.right = keras.layers.Dense(DIM, name="right")
        self.norm = (
            keras.layers.BatchNormalization(momentum=0.9, synchronized=True, name="norm")
            if batch_norm
            else None
        )
        self.left.build([None, DIM])
        self.right.build([None, DIM])
        if self.norm is not None:
            self.norm.build([None, DIM])


class ToyTask(Task):
    def build_model(self) -> ToyModel:
        return ToyModel(self.config.width, self.config.batch_norm)

    def encode(self, model, batch, *, stream, training, seed):
        left = model.left(batch["x"])
        if training and self.config.dropout_rate:
            keep = tf.random.stateless_uniform(tf.shape(left), seed) >= self.config.dropout_rate
            left = tf.where(keep, left, 0.0) / (1.0 - self.config.dropout_rate)
        return left, model.right(batch["y"])

    def terms(self, model, outputs, batch, *, stream, training, gather) -> StepTerms:
        left, right = (tf.cast(value, tf.float32) for value in outputs)
        if model.norm is not None:
            left = tf.cast(model.norm(left, training=training), tf.float32)
        weight = batch["weight"]
        if self.config.contrastive:
            logits = tf.matmul(left, gather(right), transpose_b=True) / self.config.temperature
            positive = tf.reduce_sum(left * right, -1) / self.config.temperature
            losses = tf.reduce_logsumexp(logits, -1) - positive
        else:
            losses = tf.reduce_sum(tf.square(left - right), -1)
        for first, factor in (
            (self.config.large_from_step, 1e3),
            (self.config.nan_from_step, float("nan")),
        ):
            if first >= 0:
                losses *= tf.where(batch["step"] >= first, factor, 1.0)
        loss = Term(tf.reduce_sum(losses * weight), tf.reduce_sum(weight))
        margin = Term(tf.reduce_sum(tf.abs(left[:, 0])), tf.cast(tf.shape(left)[0], tf.float32))
        return StepTerms(loss, {"margin": margin})

    def tokens_per_example(self, stream: str) -> int:
        return 3

    def summaries(self, model, batch, *, stream):
        return []


class ToyDistance(Evaluator):
    """Brought by the toy systems, as `kind: toy_distance`."""

    config_class = EvaluatorConfig

    def metric_names(self):
        return {"distance", "step"}

    def evaluate(self, model, context) -> dict[str, float]:
        batch = host_batch(32, seed=99, step=0)
        left, right = model.left(batch["x"]), model.right(batch["y"])
        distance = float(tf.reduce_mean(tf.square(left - right)))
        return {"distance": distance, "step": float(context.step)}


class TwoOptimizersTask(ToyTask):
    def variable_groups(self, model):
        return {
            "left": list(model.left.trainable_variables),
            "right": list(model.right.trainable_variables),
        }


def host_batch(batch_size: int, *, seed: int, step: int) -> dict[str, np.ndarray]:
    """The global batch of a step: x, y float32[batch, 8] related by a fixed map."""
    random = np.random.default_rng([seed, step])
    x = random.normal(size=(batch_size, DIM)).astype(np.float32)
    mix = np.random.default_rng(7).normal(size=(DIM, DIM)) / np.sqrt(DIM)
    y = x @ mix + 0.1 * random.normal(size=x.shape).astype(np.float32)
    weight = (random.uniform(size=batch_size) < 0.8).astype(np.float32)
    weight[0] = 1.0
    ids = step * 1000 + np.arange(batch_size, dtype=np.int64)
    return {
        "x": x,
        "y": y.astype(np.float32),
        "weight": weight,
        "example_id": ids,
        "step": np.full(batch_size, step),
    }


class ToyInputs:
    """Synthetic batches, cut as records are: per replica, in replica order."""

    def plan(self, input_config, field) -> str:
        return f"endless synthetic batches of {input_config.batch_size}"

    def build_train_dataset(self, input_config, *, seed, start_step, input_context):
        size = input_config.batch_size
        pieces = input_context.num_replicas_in_sync if input_context else 1
        pipelines = input_context.num_input_pipelines if input_context else 1
        pipeline = input_context.input_pipeline_id if input_context else 0
        local = pieces // pipelines
        rows = size // pieces

        def generate():
            step = start_step
            while True:
                batch = host_batch(size, seed=seed, step=step)
                for piece in range(pipeline * local, (pipeline + 1) * local):
                    yield {
                        key: value[piece * rows : (piece + 1) * rows]
                        for key, value in batch.items()
                    }
                step += 1

        spec = {
            key: tf.TensorSpec([rows, *value.shape[1:]], value.dtype)
            for key, value in host_batch(2, seed=0, step=0).items()
        }
        return tf.data.Dataset.from_generator(generate, output_signature=spec)

    def contents(self, input_config) -> dict[str, str]:
        return {"batches": f"endless ones of {DIM} numbers"}

    def check(self, input_config, name, *, seed, num_classes):
        return [f"  rows {input_config.batch_size}"]

    def describe(self, example_ids, input_config):
        return [f"toy/{number}" for number in example_ids]


def register() -> None:
    """Makes the toy known to the configs of this process."""
    here = "tests.trainers.toy_task"
    own = {"toy_distance": f"{here}:ToyDistance"}
    for name, task in (("toy", "ToyTask"), ("toy_two", "TwoOptimizersTask")):
        registry.SYSTEMS[name] = registry.System(
            f"{here}:{task}", f"{here}:ToyTaskConfig", "", evaluators=own
        )


def main(argv: list[str]) -> int:
    import argparse

    import mmstack
    from trainers.commands import train

    register()
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return mmstack.explained("train", lambda: _train(parser.parse_args(argv)))


def _train(args) -> int:
    from trainers.commands import train
    from trainers.config.loading import load_config
    from trainers.loop.modes import run_experiment

    config = load_config(args.config_file, train.overrides_of(args))
    return run_experiment(
        config,
        mode=args.mode,
        model_dir=args.model_dir,
        dry=args.dry_run,
        from_step=args.from_step,
        inputs=ToyInputs(),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
