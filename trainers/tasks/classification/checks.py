"""Checks of an experiment that learns classes, and the names of the classes."""

from collections.abc import Mapping
from typing import Any

from mm_models.checks import check_choice, check_rate
from mm_models.errors import UserError
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig
from trainers.evaluation.classes.labels import dataset_labels

LOSSES = ("softmax", "sigmoid")


def check_values(config: Any) -> None:
    """Raises UserError for values of a ClassificationTaskConfig that cannot work."""
    check_choice(config.loss, LOSSES, "task.loss")
    check_rate(config.label_smoothing, "task.label_smoothing")
    if config.loss == "sigmoid" and config.label_smoothing:
        raise UserError(
            f"task.label_smoothing is {config.label_smoothing}, which task.loss = sigmoid does not "
            "use; set it to 0"
        )
    if config.loss == "softmax" and config.class_balanced:
        raise UserError(
            "task.class_balanced is true, which task.loss = softmax does not use; set it to false"
        )
    alpha, beta = config.mixup_alpha, config.mixup_beta
    if min(alpha, beta) < 0 or (alpha > 0) != (beta > 0):
        raise UserError(
            f"task.mixup_alpha is {alpha} and task.mixup_beta is {beta}; make both greater than 0, "
            "or both 0 for no mix-up"
        )


def check_stream(modality: str, name: str, inputs: InputConfig) -> None:
    """Raises UserError when the stream lacks labels, or reads other than `modality`."""
    if inputs.labels is None:
        raise UserError(
            f"streams.{name}.input.labels is null, but classes are learned from labels; read them, "
            "such as {num_labels: 1}, or as many as an example has"
        )
    for source in ("video", "audio", "text"):
        read = source in inputs.parts
        if read and source != modality:
            raise UserError(
                f"streams.{name}.input.{source} is read, but the task looks at {modality!r}; set "
                "that input to null"
            )
        if not read and source == modality:
            raise UserError(
                f"streams.{name}.input.{source} is null, but the task looks at it; describe that "
                "input"
            )


def class_names(config: Any, streams: Mapping[str, StreamConfig]) -> list[str]:
    """Names in index order: the config's, the data sets', or numbers.

    Raises UserError when names, number and data do not agree.
    """
    listed = {
        (stream, dataset): labels
        for stream, part in streams.items()
        for dataset, labels in dataset_labels(part.input).items()
    }
    first = next(iter(listed.values()), [])
    names = list(config.class_names) or first or [str(i) for i in range(config.num_classes)]
    if len(names) < 2 or config.num_classes not in (0, len(names)):
        raise UserError(
            f"task.num_classes is {config.num_classes}, and there are {len(names)} class names; "
            "two or more are needed, and task.num_classes must be their number or 0"
        )
    for (stream, dataset), labels in listed.items():
        where = f"streams.{stream}.input.datasets.{dataset}"
        if not config.class_names and labels != names:
            raise UserError(
                f"{where} lists other labels than the first data set does; preprocess them with "
                "one list of labels"
            )
        if len(labels) > len(names):
            raise UserError(
                f"{where} lists {len(labels)} labels, but task.class_names has {len(names)} names; "
                "name every class, or leave task.class_names empty"
            )
    return names
