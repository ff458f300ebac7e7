"""The trained classifier that an evaluator measures, whichever task it belongs to."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from mm_models.errors import UserError
from trainers.evaluation.pictures.class_panels import class_views
from trainers.evaluation.places.embeddings import Views
from trainers.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Classifier:
    """What tells classes apart.

    Attributes:
        class_names: in index order.
        modality: of the model, that is looked at.
        is_multi_label: whether an example may have any number of classes.
        views: a model and its inputs → `logits: float32[batch, 1, classes]`.
    """

    class_names: list[str]
    modality: str
    is_multi_label: bool
    views: Views


def classifier_of(task: Task, objective: str, evaluator: str) -> Classifier:
    """The classifier of a task, or of one of its objectives.

    Args:
        task: classifies itself (`class_names`), or has objectives of which some classify.
        objective: name of one of these; empty for a task that classifies itself.
        evaluator: name of the evaluator, for messages.

    Raises:
        UserError: there is no such classifier.
    """
    if hasattr(task, "class_names"):
        if objective:
            raise UserError(
                f"evaluators.{evaluator}.objective is {objective!r}, but task "
                f"{task.config.name!r} has one classifier and no objectives; leave it out"
            )
        return Classifier(task.class_names, task.modality, task.is_multi_label, class_views)
    objectives = getattr(task.config, "objectives", {})
    known = sorted(name for name, found in objectives.items() if found.classifier)
    if objective not in known:
        remedy = "use zero_shot or linear_probe"
        if known:
            remedy = f"choose evaluators.{evaluator}.objective from {known}"
        raise UserError(
            f"evaluators.{evaluator}.kind is classification, but task {task.config.name!r} does "
            f"not classify by objective {objective!r}; {remedy}"
        )
    return _of_objective(task, objectives[objective])


def _of_objective(task: Any, objective: Any) -> Classifier:
    modality = objective.classifier_modality

    def views(model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        pooled = model.encode(inputs, training=False, patch=objective.patch).pooled[modality]
        return {"logits": model.classify(pooled, objective.classifier)[:, tf.newaxis]}

    count = task.config.model.classifiers[objective.classifier]
    return Classifier(
        list(objective.class_names) or [str(number) for number in range(count)],
        modality,
        objective.classifier_loss == "sigmoid",
        views,
    )
