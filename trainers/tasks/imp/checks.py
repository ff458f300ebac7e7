"""Checks of an IMP experiment that need no model, and the names of its classes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mm_models import checks
from mm_models.errors import UserError
from mm_models.imp import config as imp_config
from mm_models.imp.config import ImpConfig
from mm_models.text.label_prompts import KINDS
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig
from trainers.evaluation.classes.labels import dataset_labels
from trainers.tasks.imp.objectives import SOURCES, ImpObjectiveConfig, modalities

LOSSES = ("softmax", "sigmoid")


def check_objective(name: str, objective: ImpObjectiveConfig, model: ImpConfig) -> None:
    """Raises UserError for an objective that cannot work with `model` (resolved)."""
    where = f"task.objectives.{name}"
    _check_classifier(where, objective, model)
    for modality in modalities(objective):
        if modality not in model.modalities:
            raise UserError(
                f"{where} needs {modality}, but task.model.modalities is {model.modalities}; add it"
            )
    if not modalities(objective):
        raise UserError(f"{where} has neither pairs nor a classifier; give it one of them")
    _check_numbers(where, objective)
    _check_prompts(where, objective)
    for modality, rate in objective.drop_token.items():
        if modality not in modalities(objective) or modality == "text" or not 0 <= rate < 1:
            raise UserError(
                f"{where}.drop_token.{modality} is {rate}; name a modality of the objective other "
                "than text, with a share of at least 0 and below 1"
            )
    if objective.patch not in model.video.patches:
        raise UserError(
            f"{where}.patch is {objective.patch!r}; task.model.video.patches has "
            f"{sorted(model.video.patches)}"
        )


def _check_numbers(where: str, objective: ImpObjectiveConfig) -> None:
    weights = {f"pairs.{pair}": weight for pair, weight in objective.pairs.items()}
    weights["classifier_weight"] = objective.classifier_weight
    for field, weight in weights.items():
        checks.check_positive(weight, f"{where}.{field}")
    checks.check_at_least(objective.margin, 0, f"{where}.margin")


def _check_classifier(where: str, objective: ImpObjectiveConfig, model: ImpConfig) -> None:
    if objective.classifier and objective.classifier not in model.classifiers:
        raise UserError(
            f"{where}.classifier is {objective.classifier!r}; task.model.classifiers has "
            f"{sorted(model.classifiers)}"
        )
    checks.check_choice(objective.classifier_loss, LOSSES, f"{where}.classifier_loss")
    checks.check_choice(objective.classifier_modality, SOURCES, f"{where}.classifier_modality")


def _check_prompts(where: str, objective: ImpObjectiveConfig) -> None:
    checks.check_choice(objective.label_prompts, ("", *KINDS), f"{where}.label_prompts")
    if objective.label_prompts and "text" not in modalities(objective):
        raise UserError(
            f"{where}.label_prompts is {objective.label_prompts!r}, but no pair has text; add one"
        )
    checks.check_fields(objective, 1, ("num_prompts", "fillings_per_template"), where)


def check_stream(
    stream: str, objective: ImpObjectiveConfig, model: ImpConfig, inputs: InputConfig
) -> None:
    """Raises UserError where a stream's input lacks what its objective reads."""
    where = f"streams.{stream}.input"
    for modality in modalities(objective):
        source = SOURCES[modality]
        if source not in inputs.parts:
            raise UserError(f"{where}.{source} is null, but its objective reads it; describe it")
    wanted = {SOURCES[modality] for modality in modalities(objective)}
    for source in ("video", "audio", "text"):
        if source not in wanted and source in inputs.parts:
            raise UserError(
                f"{where}.{source} is read, but no part of the stream's objective uses it; set it "
                "to null"
            )
    if (objective.classifier or objective.label_prompts) and inputs.labels is None:
        raise UserError(
            f"{where}.labels is null, but the objective learns from labels; read them, such as "
            "{num_labels: 1}, or as many as an example has"
        )
    if "audio" in wanted:
        _check_rate(where, model, inputs)


def _check_rate(where: str, model: ImpConfig, inputs: InputConfig) -> None:
    if inputs.audio.sample_rate_hz != model.audio.sample_rate_hz:
        raise UserError(
            f"{where}.audio.sample_rate_hz is {inputs.audio.sample_rate_hz}, but "
            f"task.model.audio.sample_rate_hz is {model.audio.sample_rate_hz}; make them equal"
        )


def label_names(
    name: str, objective: ImpObjectiveConfig, model: ImpConfig, streams: Mapping[str, StreamConfig]
) -> list[str]:
    """Class names of an objective in index order: its own, or those that its streams' data sets
    list; none where nothing lists any, or the objective needs no labels.

    Raises:
        UserError: data sets list different names, or the classifier has another number of classes,
            or sentences are to be made without names.
    """
    if not objective.classifier and not objective.label_prompts:
        return []
    names = list(objective.class_names)
    for stream, config in streams.items():
        for dataset, labels in dataset_labels(config.input).items():
            names = names or labels
            if labels != names:
                raise UserError(
                    f"streams.{stream}.input.datasets.{dataset} lists other labels than "
                    f"task.objectives.{name} takes; preprocess them with one list of labels, or "
                    "give the streams objectives of their own"
                )
    if objective.label_prompts and not names:
        raise UserError(
            f"task.objectives.{name}.label_prompts needs the names of the classes, and no data set "
            f"lists labels; fill task.objectives.{name}.class_names"
        )
    num_classes = model.classifiers.get(objective.classifier, len(names))
    if names and num_classes != len(names):
        raise UserError(
            f"task.model.classifiers.{objective.classifier} is {num_classes}, but "
            f"task.objectives.{name} has {len(names)} class names; make it {len(names)}"
        )
    return names


def resolve(config: Any, streams: Mapping[str, StreamConfig]) -> Any:
    """A checked copy of an ImpTaskConfig with class names filled in.

    Raises UserError when objectives, model and streams do not fit together.
    """
    model = imp_config.resolve(config.model)
    if streams and not config.objectives:
        raise UserError("task.objectives is empty; describe at least one objective")
    objectives = {}
    for name, objective in config.objectives.items():
        check_objective(name, objective, model)
        members = {key: stream for key, stream in streams.items() if stream.objective == name}
        names = label_names(name, objective, model, members)
        objectives[name] = dataclasses.replace(objective, class_names=names)
    for key, stream in streams.items():
        if stream.objective not in objectives:
            raise UserError(
                f"streams.{key}.objective is {stream.objective!r}; task.objectives has "
                f"{sorted(objectives)}"
            )
        check_stream(key, objectives[stream.objective], model, stream.input)
    checks.check_fields(config, 0, ("router_z_loss_weight", "balance_loss_weight"), "task")
    return dataclasses.replace(config, objectives=objectives)
