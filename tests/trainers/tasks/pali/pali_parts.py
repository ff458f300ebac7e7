"""A small PaLI model, and the parts of its run without records."""

import tensorflow as tf

from mm_models.backbones.t5_config import T5Config
from mm_models.backbones.vit_config import VitConfig
from mm_models.pali.config import PaliConfig
from trainers import runs
from trainers.config.schema import EmaConfig, ExperimentConfig, RuntimeConfig, TrainerConfig
from trainers.loop.steps.compiled_step import StepParts
from trainers.optimization.config import OptimizerConfig, ParameterGroupConfig, ScheduleConfig
from trainers.optimization.optimizers import build_optimizers

FROZEN = {"vision": ParameterGroupConfig(pattern="^vision/", frozen=True)}


def small_model(**language):
    """A debug model for images of 16 pixels.

    Args:
        language: fields of the language part.
    """
    return PaliConfig(
        size="debug",
        vision=VitConfig(size="", image_size=16),
        language=T5Config(size="", **{"vocabulary_size": 512} | language),
    )


def parts_of(task, kind="adafactor", *, groups=FROZEN, strategy=None, mixed=False, jit=False):
    """What a train step works with, under a strategy; by default on one device."""
    strategy = strategy or tf.distribute.get_strategy()
    optimizer = OptimizerConfig(
        kind=kind, schedule=ScheduleConfig(learning_rate=0.01), min_factored_size=8, groups=groups
    )
    trainer = TrainerConfig(optimizers={"main": optimizer}, ema=EmaConfig(decay=0.9))
    runtime = RuntimeConfig(mixed_precision=mixed)
    config = ExperimentConfig(
        task=task.config, streams=task.streams, trainer=trainer, runtime=runtime
    )
    with strategy.scope():
        model = runs.build_model(task, config)
        step = tf.Variable(0, dtype=tf.int64)
        optimizers = build_optimizers(
            trainer.optimizers, task.variable_groups(model), step=step, train_steps=10
        )
        averages = runs.build_averages(task, model, config)
    return StepParts(task, model, optimizers, averages, step, strategy, trainer, jit)
