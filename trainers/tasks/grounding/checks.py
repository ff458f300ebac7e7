"""Checks of a grounding experiment that need no model."""

from collections.abc import Mapping
from typing import Any

from mm_models import checks
from mm_models.errors import UserError
from mm_models.grounding.config import GroundingConfig
from trainers.config.schema import StreamConfig

_WEIGHTS = ("word_weight", "sentence_weight", "kernel_decay", "images_per_chunk")


def check(config: Any, streams: Mapping[str, StreamConfig]) -> None:
    """Raises UserError where a GroundingTaskConfig and its streams cannot work together."""
    checks.check_fields(config, 0, _WEIGHTS, "task")
    checks.check_positive(config.word_sharpness, "task.word_sharpness")
    checks.check_positive(config.score_scale, "task.score_scale")
    if not config.word_weight and not config.sentence_weight:
        raise UserError(
            "task.word_weight and task.sentence_weight are both 0, so that nothing is learned; "
            "give one of them a weight"
        )
    for name, stream in streams.items():
        _check_stream(f"streams.{name}", stream, config.model)


def _check_stream(where: str, stream: Any, model: GroundingConfig) -> None:
    inputs = stream.input
    for part, use in (("video", "pictures"), ("phrases", "sentences about them")):
        if part not in inputs.parts:
            raise UserError(
                f"{where}.input.{part} is null, but grounding learns from {use}; describe it"
            )
    if inputs.phrases.each:
        raise UserError(
            f"{where}.input.phrases.each is true, which is for evaluators; a picture would stand "
            "in a batch several times, so leave it out"
        )
    unused = sorted(set(inputs.parts) - {"video", "phrases"})
    if unused:
        raise UserError(
            f"{where}.input.{unused[0]} is read, but grounding has no use for it; leave it out"
        )
    if stream.objective:
        raise UserError(
            f"{where}.objective is {stream.objective!r}, but grounding has one objective; leave it "
            "out"
        )
    video, visual = inputs.video, model.visual
    if (video.height, video.width) != (visual.height, visual.width):
        raise UserError(
            f"{where}.input.video is {video.height} x {video.width} pixels and task.model.visual "
            f"{visual.height} x {visual.width}; make them equal"
        )
    if inputs.phrases.width != model.word_width:
        raise UserError(
            f"{where}.input.phrases.width is {inputs.phrases.width} and task.model.word_width "
            f"{model.word_width}; make them equal"
        )
