"""What makes two configs the same experiment, so that a checkpoint is only resumed by its own."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from mm_models.config_tools import with_travelling_files
from mm_models.errors import UserError
from trainers.config.schema import (
    ExperimentConfig,
    InitializeConfig,
)

_ALTERNATION = "trainer.alternation"


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted path; lists count as leaves."""
    if not isinstance(tree, Mapping):
        return {prefix.removesuffix("."): tree}
    leaves: dict[str, Any] = {}
    for key, child in tree.items():
        leaves.update(flatten(child, f"{prefix}{key}."))
    return leaves


def identity_of(
    config: ExperimentConfig, fingerprint: Callable[[Any], str]
) -> dict[str, str | int | float | bool | list | None]:
    """Every setting that may not change between a checkpoint and its resumption.

    Steps, intervals, rates, evaluators and runtime may change; model, losses, data order, seed,
    initial weights and the optimizers' variables may not.
    """
    identity: dict[str, Any] = {"trainer.seed": config.trainer.seed}
    identity["trainer.ema"] = config.trainer.ema.decay > 0
    # A copied vocabulary is the same one.
    task = with_travelling_files(config.task, _content)
    identity |= flatten(dataclasses.asdict(task), "task.")
    identity |= flatten(_alternation(config), f"{_ALTERNATION}.")
    for name, stream in config.streams.items():
        identity[f"streams.{name}.interval"] = stream.interval
        identity[f"streams.{name}.weight"] = stream.weight
        identity[f"streams.{name}.objective"] = stream.objective
        identity[f"streams.{name}.input"] = fingerprint(stream.input)
    for name, start in config.initialize.items():
        if start.model_dir:
            identity[f"initialize.{name}"] = _start(start)
    for name, optimizer in config.trainer.optimizers.items():
        field = f"trainer.optimizers.{name}"
        identity[f"{field}.kind"] = optimizer.kind
        for group_name, group in optimizer.groups.items():
            identity[f"{field}.groups.{group_name}.pattern"] = group.pattern
            identity[f"{field}.groups.{group_name}.frozen"] = group.frozen
    return identity


def _start(source: InitializeConfig) -> str:
    averages = "averages" if source.use_ema else "no averages"
    experts = f", upcycled with noise {source.upcycle_noise}" if source.upcycle_experts else ""
    part = f", {source.part}" if source.part else ""
    return f"{source.model_dir}{part}, {source.checkpoint}, {averages}{experts}"


def _alternation(config: ExperimentConfig) -> dict[str, Any]:
    """The settings that decide which stream a step takes."""
    sampler = config.trainer.alternation.sampler
    settings: dict[str, Any] = {"sampler": sampler, "combine": config.trainer.alternation.combine}
    if sampler in ("loss", "uncertainty"):
        settings["refresh_steps"] = config.trainer.alternation.refresh_steps
        settings["floor_share"] = config.trainer.alternation.floor_share
    if sampler == "interval":
        settings["passes"] = [name for name, stream in config.streams.items() if stream.weight]
    return settings


def check_identity(ours: Mapping[str, Any], saved: Mapping[str, Any], path: str) -> None:
    """Raises UserError naming the first setting in which a checkpoint's experiment is another one.

    Args:
        ours, saved: from `identity_of`, of this run and in the checkpoint.
        path: what errors call the checkpoint.
    """
    for key in sorted(set(ours) | set(saved)):
        here, there = ours.get(key), saved.get(key)
        if here != there:
            raise UserError(
                f"{path} is a checkpoint of another experiment: {key} is {there!r} there and "
                f"{here!r} here; give another --model_dir, or put the setting back"
            )


def _content(path: str) -> str:
    """Hash of what is in a file; the path itself where there is none."""
    if not tf.io.gfile.exists(path):
        return path
    with tf.io.gfile.GFile(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]
