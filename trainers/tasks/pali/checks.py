"""Checks of a PaLI experiment that need no model."""

from collections.abc import Mapping
from typing import Any

from mm_models import checks
from mm_models.backbones import vit_config
from mm_models.errors import UserError
from mm_models.pali import config as pali_config
from mm_models.pali.config import PaliConfig
from trainers.config.schema import StreamConfig


def check(config: Any, streams: Mapping[str, StreamConfig]) -> None:
    """Raises UserError where a PaliTaskConfig and its streams cannot work together."""
    model = pali_config.resolve(config.model)
    checks.check_at_least(config.z_loss_weight, 0, "task.z_loss_weight")
    checks.check_rate(config.label_smoothing, "task.label_smoothing")
    for name, stream in streams.items():
        _check_stream(f"streams.{name}", stream, config.loss_chunks, model)


def _check_stream(where: str, stream: Any, loss_chunks: int, model: PaliConfig) -> None:
    inputs = stream.input
    if inputs.prompted is None:
        raise UserError(
            f"{where}.input.prompted is null, but PaLI learns from prompts; name its tasks"
        )
    for source in ("audio", "text"):
        if source in inputs.parts:
            raise UserError(
                f"{where}.input.{source} is read, but PaLI has no use for it; leave it out"
            )
    if stream.objective:
        raise UserError(
            f"{where}.objective is {stream.objective!r}, but PaLI has one objective; leave it out"
        )
    if loss_chunks < 1 or inputs.prompted.num_target_tokens % loss_chunks:
        raise UserError(
            f"task.loss_chunks is {loss_chunks}, which does not divide {where}.input.prompted."
            f"num_target_tokens = {inputs.prompted.num_target_tokens}; choose one that does"
        )
    if inputs.video is not None:
        vit_config.grid_of(model.vision, inputs.video.height, inputs.video.width)
