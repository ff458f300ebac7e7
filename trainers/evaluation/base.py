"""What every evaluator is given, and what it gives."""

import abc
import os
from collections.abc import Collection
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from mm_models.checks import check_not_negative
from mm_models.errors import UserError
from trainers.atomic_files import write_text
from trainers.data.config import InputConfig
from trainers.evaluation.config import EvaluatorConfig, inputs_in
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.pictures import panels
from trainers.tasks.base import Task


class Evaluator(abc.ABC):
    """Measures a model on fixed examples.

    `evaluate` returns plain numbers by name; `chance` tells what an untrained model scores, for the
    tables people read.

    Attributes:
        config_class: the fields of the kind.
        model_ability: what the model must offer (mm_models/contracts.py).
        num_classes: classes that the labels of its inputs may name; 0 where it knows none.
    """

    config_class: ClassVar[type[EvaluatorConfig]]
    model_ability: ClassVar[type] = keras.Model
    num_classes: int = 0

    def __init__(self, name: str, config: EvaluatorConfig, task: Task):
        """Takes the evaluator's name, which prefixes its pictures, its config, and what is learned.

        Raises UserError for values that cannot work, or do not fit the task.
        """
        check_not_negative(config, f"evaluators.{name}")
        self.name = name
        self.config = config
        self.task = task

    def check_model(self, model: keras.Model) -> None:
        """Raises UserError for a model that lacks what the evaluator asks of it."""
        if not isinstance(model, self.model_ability):
            raise UserError(
                f"evaluators.{self.name}.kind is {self.config.kind}, which needs a model of the "
                f"ability {self.model_ability.__name__} (mm_models/contracts.py), and "
                f"{type(model).__name__} lacks it; choose another kind"
            )

    def inputs(self) -> dict[str, InputConfig]:
        """What it reads, by the field that says so; by default every input of its config."""
        return dict(inputs_in(self.config, f"evaluators.{self.name}"))

    @abc.abstractmethod
    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        """Scores by name."""

    def metric_names(self) -> Collection[str] | None:
        """Names that `evaluate` may report, with `*` for what the examples tell; None where nothing
        is known of them."""
        return None

    def chance(self) -> dict[str, float]:
        """Expected scores of random embeddings, for the metrics where that is known."""
        return {}

    def write_file(self, ending: str, text: str, context: EvaluationContext) -> None:
        """Writes `eval/<name><ending>` in the run folder, where the context has one."""
        if context.model_dir:
            folder = os.path.join(context.model_dir, "eval")
            tf.io.gfile.makedirs(folder)
            write_text(os.path.join(folder, f"{self.name}{ending}"), text)

    def write(self, shown: list[panels.Panel], context: EvaluationContext) -> None:
        """Writes pictures under `eval/<name>/` when the context has a writer."""
        if context.summary_writer is not None and shown:
            panels.write_panels(
                shown, context.summary_writer, step=context.step, prefix=f"{self.name}/"
            )


def to_floats(scores: dict[str, float]) -> dict[str, float]:
    """Plain Python floats, so that the scores go into JSON."""
    return {name: float(np.asarray(value)) for name, value in scores.items()}
