"""What every evaluator gets and gives."""

import abc
import dataclasses

import keras
import numpy as np
import tensorflow as tf

from trainers.evaluation.config import EvaluatorConfig
from trainers.evaluation.pictures import panels


@dataclasses.dataclass
class EvaluationContext:
    """Where and when an evaluation happens.

    Attributes:
        step: training step of the weights.
        model_dir: run folder; evaluators write only under its `eval/`. Empty writes no files.
        summary_writer: TensorBoard writer for pictures, or None for none.
        strategy: the run's strategy; None is one device.
        jit_compile: whether the forward passes compile with XLA.
        seed: makes every draw of an evaluator repeatable.
    """

    step: int = 0
    model_dir: str = ""
    summary_writer: tf.summary.SummaryWriter | None = None
    strategy: tf.distribute.Strategy | None = None
    jit_compile: bool = True
    seed: int = 0


class Evaluator(abc.ABC):
    """Measures a model on fixed examples.

    `evaluate` returns plain numbers by name; `chance` tells what an untrained model scores, for the
    tables people read. An evaluator is also callable, as `Task.evaluators` asks.
    """

    def __init__(self, name: str, config: EvaluatorConfig):
        """Takes the evaluator's name, which prefixes its pictures, and its config."""
        self.name = name
        self.config = config

    def __call__(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        return self.evaluate(model, context)

    @abc.abstractmethod
    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        """Scores by name."""

    def chance(self) -> dict[str, float]:
        """Expected scores of random embeddings, for the metrics where that is known."""
        return {}

    def write(self, shown: list[panels.Panel], context: EvaluationContext) -> None:
        """Writes pictures under `eval/<name>/` when the context has a writer."""
        if context.summary_writer is not None and shown:
            panels.write_panels(
                shown, context.summary_writer, step=context.step, prefix=f"{self.name}/"
            )


def to_floats(scores: dict[str, float]) -> dict[str, float]:
    """Plain Python floats, so that the scores go into JSON."""
    return {name: float(np.asarray(value)) for name, value in scores.items()}
