"""Batches of an evaluation, what models take of them, and embeddings of their views."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from mm_models.checks import check_choice
from mm_models.contracts import Embeds, EmbedsByPatch
from mm_models.errors import UserError
from trainers.data import pipeline
from trainers.data.config import InputConfig
from trainers.data.reading.errors import user_errors

MODALITIES = ("video", "audio", "text")
# What a model's modality is read from, where the two names differ.
SOURCES = {"waveform": "audio"}
VIEW_RANK = {"video": 6, "audio": 3, "waveform": 3}
# What a model that writes reads, where a batch has it.
DECODER_INPUTS = (
    "video",
    "audio",
    "features",
    "feature_positions",
    "feature_token_mask",
    "inputs",
)
THUMBNAIL_FRAMES = 4
THUMBNAIL_PIXELS = 96


def batches(input_config: InputConfig, max_examples: int = 0) -> Iterator[Mapping[str, tf.Tensor]]:
    """Batches in order, up to the one whose examples make `max_examples` full; 0 takes all.

    Raises UserError for records that no batch can be made of.
    """
    count = 0
    with user_errors():
        for batch in pipeline.build_eval_dataset(input_config):
            yield batch
            count += int(batch["example_mask"].numpy().sum())
            if 0 < max_examples <= count:
                return


def source(modality: str) -> str:
    """What a model's modality is read from: `audio` for `waveform`, else the modality itself."""
    return SOURCES.get(modality, modality)


def only(input_config: InputConfig, modalities: Iterable[str]) -> InputConfig:
    """The input with nothing read but what these modalities need."""
    kept = {source(modality) for modality in modalities}
    unused = {name: None for name in MODALITIES if name not in kept}
    return dataclasses.replace(input_config, **unused)


def model_inputs(modalities: Iterable[str], batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a batch of the pipeline holds of a model's modalities, by their names."""
    return {name: batch[source(name)] for name in modalities if source(name) in batch}


def decoder_inputs(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The tensors of a batch that a model that writes reads."""
    return {name: batch[name] for name in DECODER_INPUTS if name in batch}


def embedding_by(
    model: Embeds, patch: str, field: str = "patch"
) -> Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """The model's `embed`, by the named patches; an empty name takes its default ones.

    Raises UserError, which names `field`, when the model has no such patches.
    """
    if not patch:
        return model.embed
    if isinstance(model, EmbedsByPatch):
        check_choice(patch, sorted(model.patches), field)
        return functools.partial(model.embed, patch=patch)
    raise UserError(f"{field} is {patch!r}, but the model has no named patches; leave it empty")


def forward_views(
    model: Embeds, inputs: Mapping[str, tf.Tensor], patch: str = ""
) -> dict[str, tf.Tensor]:
    """Outputs with an axis of views, which is folded into the batch for the model.

    Args:
        model: its `embed` maps inputs by modality to outputs by name.
        inputs: video float32[batch, (views,) frames, height, width, 3], audio
            float32[batch, (views,) samples], text int32[batch, candidates, tokens].
        patch: name of the patches, of a model that can cut videos in several ways; empty for its
            default ones.

    Returns:
        float32[batch, views, dim] by output name.
    """
    batch_size = next(iter(inputs.values())).shape[0]
    outputs = embedding_by(model, patch)(
        {name: _fold(name, tensor) for name, tensor in inputs.items()}
    )
    return {
        name: tf.cast(tf.reshape(output, [batch_size, -1, output.shape[-1]]), tf.float32)
        for name, output in outputs.items()
    }


def _fold(name: str, tensor: tf.Tensor) -> tf.Tensor:
    if len(tensor.shape) != VIEW_RANK.get(name):
        return tensor
    return tf.reshape(tensor, [tensor.shape[0] * tensor.shape[1], *tensor.shape[2:]])


def clip_thumbnails(video: tf.Tensor, real: np.ndarray) -> np.ndarray:
    """A few frames of the first window of the rows that are `real: bool[batch]`, thinned to
    thumbnail size: uint8[rows, frames, height, width, 3]."""
    first = video[:, 0] if len(video.shape) == VIEW_RANK["video"] else video
    frames = np.unique(np.linspace(0, first.shape[1] - 1, THUMBNAIL_FRAMES).round().astype(int))
    stride = max(1, -(-max(first.shape[2:4]) // THUMBNAIL_PIXELS))
    small = first.numpy()[real][:, frames, ::stride, ::stride]
    return np.clip((small + 1.0) * 127.5, 0, 255).round().astype(np.uint8)
