"""Runs a model over test examples and collects what comes out, without padding rows."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from trainers.data import pipeline
from trainers.data.config import InputConfig
from trainers.evaluation.base import EvaluationContext
from trainers.evaluation.compiled import CompiledFunction

MODALITIES = ("video", "audio", "text")
# What a model's modality is read from, where the two names differ.
SOURCES = {"waveform": "audio"}
VIEW_RANK = {"video": 6, "audio": 3, "waveform": 3}
THUMBNAIL_FRAMES = 4
THUMBNAIL_PIXELS = 96

# A model and its inputs by modality -> outputs `float32[batch, views, dim]` by name.
Views = Callable[[keras.Model, Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class EmbeddedExamples:
    """Model outputs and what is needed to score them.

    Attributes:
        outputs: float32[examples, views, dim] by output name (`video`, `video_vt`, ...); views are
            windows of video and audio, candidates of text.
        masks: bool[examples] by what is read (`video`, `audio`, `text`): whether the example has
            it.
        candidate_mask: bool[examples, candidates], or None without text.
        labels: int32[examples, labels] padded with -1, or None.
        example_ids: int64[examples].
        thumbnails: uint8[examples, frames, height, width, 3] of the first window, or None.
    """

    outputs: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    candidate_mask: np.ndarray | None
    labels: np.ndarray | None
    example_ids: np.ndarray
    thumbnails: np.ndarray | None

    def __len__(self) -> int:
        return len(self.example_ids)

    def take(self, rows: np.ndarray) -> "EmbeddedExamples":
        """The examples of these rows, in this order."""

        def pick(array):
            return None if array is None else array[rows]

        return EmbeddedExamples(
            outputs={name: pick(array) for name, array in self.outputs.items()},
            masks={name: pick(array) for name, array in self.masks.items()},
            candidate_mask=pick(self.candidate_mask),
            labels=pick(self.labels),
            example_ids=pick(self.example_ids),
            thumbnails=pick(self.thumbnails),
        )


class Embedder:
    """Compiles a model's forward pass once per input shape and keeps it between evaluations."""

    def __init__(self, views: Views | None = None, patch: str = ""):
        """Takes what to run; None runs `forward_views` with the named patches."""
        self._forward = CompiledFunction(views or functools.partial(forward_views, patch=patch))

    def forward(
        self, model: keras.Model, inputs: Mapping[str, tf.Tensor], context: EvaluationContext
    ) -> dict[str, tf.Tensor]:
        """Model outputs `float32[batch, views, dim]` by name, for inputs with or without views."""
        return self._forward(model, inputs, context)

    def examples(
        self,
        model: keras.Model,
        input_config: InputConfig,
        context: EvaluationContext,
        *,
        max_examples: int = 0,
        thumbnails: bool = False,
    ) -> EmbeddedExamples:
        """Embeds one pass over the examples in order, or only the first `max_examples`.

        Raises:
            UserError: when there is not a single example.
        """
        batches, num_examples = [], 0
        for batch in pipeline.build_eval_dataset(input_config):
            outputs = self.forward(model, model_inputs(model, batch), context)
            batches.append(_to_host(batch, outputs, thumbnails))
            num_examples += len(batches[-1])
            if max_examples and num_examples >= max_examples:
                break
        if not num_examples:
            names = ", ".join(f"{d.path} ({d.split})" for d in input_config.datasets.values())
            raise UserError(f"there is nothing to evaluate in {names}; preprocess that split first")
        merged = _concatenate(batches)
        return merged.take(np.arange(max_examples)) if 0 < max_examples < num_examples else merged


def source(modality: str) -> str:
    """What a model's modality is read from: `audio` for `waveform`, else the modality itself."""
    return SOURCES.get(modality, modality)


def only(input_config: InputConfig, modalities: Iterable[str]) -> InputConfig:
    """The input with nothing read but what these modalities need."""
    kept = {source(modality) for modality in modalities}
    unused = {name: None for name in MODALITIES if name not in kept}
    return dataclasses.replace(input_config, **unused)


def model_inputs(model: keras.Model, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a batch holds, by the model's modality; others are left out.

    Args:
        model: its `modalities` says what it takes.
        batch: as the pipeline gives it.
    """
    known = model.modalities
    return {name: batch[source(name)] for name in known if source(name) in batch}


def forward_views(
    model: keras.Model, inputs: Mapping[str, tf.Tensor], patch: str = ""
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
    folded = {name: _fold(name, tensor) for name, tensor in inputs.items()}
    outputs = model.embed(folded, patch=patch) if patch else model.embed(folded)
    return {
        name: tf.cast(tf.reshape(output, [batch_size, -1, output.shape[-1]]), tf.float32)
        for name, output in outputs.items()
    }


def _fold(name: str, tensor: tf.Tensor) -> tf.Tensor:
    if len(tensor.shape) != VIEW_RANK.get(name):
        return tensor
    return tf.reshape(tensor, [tensor.shape[0] * tensor.shape[1], *tensor.shape[2:]])


def _to_host(
    batch: Mapping[str, tf.Tensor], outputs: Mapping[str, tf.Tensor], thumbnails: bool
) -> EmbeddedExamples:
    real = batch["example_mask"].numpy() > 0
    present = {name: batch[f"{name}_mask"] for name in MODALITIES if f"{name}_mask" in batch}
    candidates, labels = batch.get("text_candidate_mask"), batch.get("label")
    return EmbeddedExamples(
        outputs={name: output.numpy()[real] for name, output in outputs.items()},
        masks={name: mask.numpy()[real] > 0 for name, mask in present.items()},
        candidate_mask=None if candidates is None else candidates.numpy()[real] > 0,
        labels=None if labels is None else labels.numpy()[real],
        example_ids=batch["example_id"].numpy()[real],
        thumbnails=clip_thumbnails(batch["video"], real)
        if thumbnails and "video" in batch
        else None,
    )


def clip_thumbnails(video: tf.Tensor, real: np.ndarray) -> np.ndarray:
    """A few frames of the first window of the rows that are `real: bool[batch]`, thinned to
    thumbnail size: uint8[rows, frames, height, width, 3]."""
    first = video[:, 0] if len(video.shape) == VIEW_RANK["video"] else video
    frames = np.unique(np.linspace(0, first.shape[1] - 1, THUMBNAIL_FRAMES).round().astype(int))
    stride = max(1, -(-max(first.shape[2:4]) // THUMBNAIL_PIXELS))
    small = first.numpy()[real][:, frames, ::stride, ::stride]
    return np.clip((small + 1.0) * 127.5, 0, 255).round().astype(np.uint8)


def _concatenate(parts: list[EmbeddedExamples]) -> EmbeddedExamples:
    def join(arrays):
        return None if arrays[0] is None else np.concatenate(arrays)

    first = parts[0]
    return EmbeddedExamples(
        outputs={name: join([part.outputs[name] for part in parts]) for name in first.outputs},
        masks={name: join([part.masks[name] for part in parts]) for name in first.masks},
        candidate_mask=join([part.candidate_mask for part in parts]),
        labels=join([part.labels for part in parts]),
        example_ids=join([part.example_ids for part in parts]),
        thumbnails=join([part.thumbnails for part in parts]),
    )
