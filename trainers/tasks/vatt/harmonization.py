"""What of VATT the video-audio and the video-text loss share."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from mm_models.errors import UserError
from mm_models.vatt.config import VattConfig
from mm_models.vatt.model import VattModel
from trainers.data.config import InputConfig
from trainers.optimization.harmonization.config import HarmonizationConfig
from trainers.optimization.harmonization.rule import (
    Conflict,
    HarmonizedGradients,
    HarmonizedParts,
    group_size,
    measure,
)
from trainers.optimization.harmonization.stack_cut import Harmonizable
from trainers.tasks.terms import Batch

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
        shared=tower.trainable_variables,
        heads=model.head.trainable_variables,
        use_bias=stack.options.use_bias,
        normalized=_normalized(model),
        datasets=list(datasets),
    )


def _normalized(model: VattModel) -> list[str]:
    """Modalities whose pooled rows go through a Dense into batch norm, with nothing between."""
    if model.config.head.kind != "fac":
        return []
    names = {"video": "video_hidden", "audio": "audio_to_va", "text": "text_to_vt"}
    maps = model.head.maps
    return [name for name, first in names.items() if first in maps and maps[first].batch_norm]


def applies(config: HarmonizationConfig, inputs: InputConfig) -> bool:
    """Whether a stream has both losses, so that there is something to harmonize."""
    return config.method != "none" and {"video", "audio", "text"} <= inputs.parts.keys()


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


def batch_conflicts(
    task: Harmonizable,
    model: VattModel,
    batch: Batch,
    configs: Mapping[str, HarmonizationConfig],
    *,
    stream: str,
) -> dict[str, Conflict]:
    """Conflict in one batch by several measures from one forward pass, without dropout and with the
    running statistics of batch norm, so that nothing about the model changes.

    Args:
        task: a VattTask.
        model: its model.
        batch: of one replica, with video, audio and text; negatives come from it alone.
        configs: measure and granularity by name.
        stream: whose data sets and losses these are.
    """
    datasets = list(task.streams[stream].input.datasets)
    rule = HarmonizedGradients(
        task,
        model,
        model.trainable_variables,
        stream=stream,
        mean=True,
        config=next(iter(configs.values())),
        parts=parts(model, datasets),
    )
    passed = rule.run(
        lambda rows, seed: rule.cut.open(rows, seed, training=False),
        batch,
        None,
        lambda outputs, rows: task.terms(
            model, outputs, rows, stream=stream, training=False, gather=tf.identity
        ),
        training=False,
    )
    return {name: measure(passed, config, rule.parts, batch) for name, config in configs.items()}
