"""What of VATT the video-audio and the video-text loss share."""

from collections.abc import Sequence

import keras

from mm_models.errors import UserError
from mm_models.vatt.config import VattConfig
from mm_models.vatt.model import VattModel
from trainers.data.config import InputConfig
from trainers.optimization.harmonization.config import HarmonizationConfig
from trainers.optimization.harmonization.rule import HarmonizedParts, group_size

LOSSES = ("vidaud", "vidtxt")


def parts(model: VattModel, datasets: Sequence[str]) -> HarmonizedParts:
    """The shared stack of the agnostic variant, or the video tower of the specific one.

    Source: gradient harmonization, section 3: the backbone that all modalities share. The specific
    variant, which the paper leaves out, shares the video's tower.
    """
    agnostic = model.config.variant == "agnostic"
    tower = model.encoder.stack if agnostic else model.tower("video")
    stack = tower if agnostic else tower.stack
    return HarmonizedParts(
        losses=LOSSES,
        anchor="video",
        modalities=(("video", "audio"), ("video", "text")) if agnostic else (("video",),) * 2,
        shared=shared_variables(model),
        heads=model.head.trainable_variables,
        use_bias=stack.options.use_bias,
        datasets=list(datasets),
    )


def shared_variables(model: VattModel) -> list[keras.Variable]:
    """Trainable variables that both losses run through, heads apart."""
    agnostic = model.config.variant == "agnostic"
    return (model.encoder.stack if agnostic else model.tower("video")).trainable_variables


def applies(config: HarmonizationConfig, inputs: InputConfig) -> bool:
    """Whether a stream has both losses, so that there is something to harmonize."""
    return config.method != "none" and None not in (inputs.video, inputs.audio, inputs.text)


def check_model(config: HarmonizationConfig, model: VattConfig) -> None:
    """Raises UserError for a model without two losses on shared parameters."""
    missing = {"video", "audio", "text"} - set(model.modalities)
    if config.method != "none" and missing:
        raise UserError(
            f"task.harmonization.method is {config.method!r}, which needs video, audio and text, "
            f"but task.model.modalities lacks {sorted(missing)}; add them or set the method to none"
        )


def check_batch(config: HarmonizationConfig, inputs: InputConfig) -> None:
    """Raises UserError when microbatches do not divide the batch."""
    if applies(config, inputs):
        group_size(config, inputs.batch_size)
