"""Checks of an R3 experiment that need no model."""

from collections.abc import Mapping
from typing import Any

from mm_models import checks
from mm_models.errors import UserError
from mm_models.r3.config import R3Config
from mm_models.text.token_corruption import check_corruption
from trainers.config.schema import StreamConfig


def check(config: Any, streams: Mapping[str, StreamConfig]) -> None:
    """Raises UserError where a resolved R3TaskConfig and its streams cannot work together."""
    model = config.model
    checks.check_choice(
        config.loss_denominator, ("per_token", "per_position"), "task.loss_denominator"
    )
    checks.check_choice(config.role_loss_over, ("tokens", "positions"), "task.role_loss_over")
    checks.check_at_least(config.role_loss_weight, 0, "task.role_loss_weight")
    check_corruption(config.corruption, model.language.vocabulary_size, "task.corruption")
    for name, stream in streams.items():
        _check_stream(f"streams.{name}", stream, model)


def _check_stream(where: str, stream: StreamConfig, model: R3Config) -> None:
    inputs = stream.input
    for needed in ("features", "prompted"):
        if needed not in inputs.parts:
            raise UserError(
                f"{where}.input.{needed} is null, but R3 captions from features and learns from "
                "texts; name it"
            )
    for name in inputs.parts:
        if name not in ("features", "prompted"):
            raise UserError(f"{where}.input.{name} is read, but R3 has no use for it; leave it out")
    if stream.objective:
        raise UserError(
            f"{where}.objective is {stream.objective!r}, but R3 has one objective; leave it out"
        )
    features = inputs.parts["features"]
    fields = {"num_steps": "num_steps", "rows": "rows", "columns": "columns", "dim": "feature_dim"}
    for theirs, mine in fields.items():
        found, expected = getattr(features, theirs), getattr(model, mine)
        if found != expected:
            raise UserError(
                f"{where}.input.features.{theirs} is {found}, but task.model.{mine} is {expected}; "
                "set both alike"
            )
    longest, known = inputs.prompted.num_target_tokens, model.language.num_positions
    if model.language.has_codes and longest > known:
        raise UserError(
            f"{where}.input.prompted.num_target_tokens is {longest}, but roles tell only "
            f"task.model.language.num_positions = {known} places apart; raise that"
        )
