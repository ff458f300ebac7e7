"""Checks of a fine-tuning experiment that need no model, and what its config leaves open."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mm_models.errors import UserError
from mm_models.vatt.config import VattConfig
from trainers.data.config import InputConfig
from trainers.tasks import vatt_checks

MODALITIES = ("video", "audio")
LOSSES = ("softmax", "sigmoid")


def check_values(config: Any) -> None:
    """Raises UserError for values of a VattClassificationTaskConfig that cannot work."""
    for field, choices in (("modality", MODALITIES), ("loss", LOSSES)):
        if getattr(config, field) not in choices:
            raise UserError(
                f"task.{field} is {getattr(config, field)!r}; choose one of {list(choices)}"
            )
    for field in ("label_smoothing", "head_dropout_rate"):
        if not 0 <= getattr(config, field) < 1:
            raise UserError(
                f"task.{field} is {getattr(config, field)}; it must be at least 0 and below 1"
            )
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


def check_stream(config: Any, name: str, inputs: InputConfig) -> None:
    """Raises UserError when the stream lacks labels or its shapes do not fit the encoder."""
    if inputs.num_labels < 1:
        raise UserError(
            f"streams.{name}.input.num_labels is {inputs.num_labels}, but classes are learned from "
            "labels; set it to 1, or to the most labels that an example has"
        )
    for modality in ("video", "audio", "text"):
        read = getattr(inputs, modality) is not None
        if read and modality != config.modality:
            raise UserError(
                f"streams.{name}.input.{modality} is read, but task.modality is "
                f"{config.modality!r}; set that input to null"
            )
        if not read and modality == config.modality:
            raise UserError(
                f"streams.{name}.input.{modality} is null, but task.modality is {modality!r}; "
                "describe that input"
            )
    one = dataclasses.replace(config.model, modalities=[config.modality])
    vatt_checks.check_stream(dataclasses.replace(config, model=one), name, inputs)


def resolve(config: Any, streams: Mapping[str, Any]) -> Any:
    """A copy with class names, their number and the DropToken rates filled in.

    Raises:
        UserError: names, number and data do not agree.
    """
    names = _class_names(config, streams)
    model = config.model if config.drop_token else _without_drop_token(config.model)
    return dataclasses.replace(config, class_names=names, num_classes=len(names), model=model)


def _class_names(config: Any, streams: Mapping[str, Any]) -> list[str]:
    # Here: the evaluators' module needs the data's, which tasks do without otherwise.
    from trainers.evaluation.labels import dataset_labels

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


def _without_drop_token(model: VattConfig) -> VattConfig:
    """A copy in which DropToken is off wherever no rate was chosen."""
    towers = {}
    for modality in MODALITIES:
        tower = getattr(model, modality)
        if tower.drop_token_rate is None:
            tower = dataclasses.replace(tower, drop_token_rate=0.0)
        towers[modality] = tower
    return dataclasses.replace(model, **towers)
