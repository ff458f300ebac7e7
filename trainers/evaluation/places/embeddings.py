"""Runs a model over test examples and collects what comes out, without padding rows."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from mm_models.contracts import Embeds
from mm_models.errors import UserError
from trainers.data.config import InputConfig
from trainers.evaluation.base import Evaluator
from trainers.evaluation.config import ExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import (
    MODALITIES,
    batches,
    clip_thumbnails,
    embedding_by,
    forward_views,
    model_inputs,
)
from trainers.tasks.base import Task

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

        return EmbeddedExamples(**tf.nest.map_structure(pick, vars(self)))


class Embedder:
    """Compiles a model's forward pass once per input shape and keeps it between evaluations.

    Attributes:
        forward: model outputs `float32[batch, views, dim]` by name, for inputs with or without
            views.
    """

    def __init__(self, views: Views, modalities: Sequence[str] | None = None):
        """Takes what to run, and on which modalities; None is all that an embedding model has."""
        self.forward = CompiledFunction(views)
        self._modalities = modalities

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

        Raises UserError when there is not a single example.
        """
        modalities = model.modalities if self._modalities is None else self._modalities
        parts = []
        for batch in batches(input_config, max_examples):
            outputs = self.forward(model, model_inputs(modalities, batch), context)
            parts.append(_to_host(batch, outputs, thumbnails))
        if not any(map(len, parts)):
            names = ", ".join(f"{d.path} ({d.split})" for d in input_config.datasets.values())
            raise UserError(f"there is nothing to evaluate in {names}; preprocess that split first")
        merged = _concatenate(parts)
        return merged.take(np.arange(max_examples)) if 0 < max_examples < len(merged) else merged


@dataclasses.dataclass
class EmbeddingConfig(ExamplesConfig):
    """Of evaluators that compare places in a common space.

    Attributes:
        patch: name of the patches that videos are cut into, of a model that has several; empty for
            its default ones.
    """

    patch: str = ""


class EmbeddingEvaluator(Evaluator):
    """Measures what an embedding model's `embed` gives."""

    config: EmbeddingConfig
    model_ability = Embeds

    def __init__(self, name: str, config: EmbeddingConfig, task: Task):
        super().__init__(name, config, task)
        self.embedder = Embedder(functools.partial(forward_views, patch=config.patch))

    def check_model(self, model: keras.Model) -> None:
        super().check_model(model)
        embedding_by(model, self.config.patch, f"evaluators.{self.name}.patch")


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


def _concatenate(parts: list[EmbeddedExamples]) -> EmbeddedExamples:
    def join(*arrays):
        return None if arrays[0] is None else np.concatenate(arrays)

    return EmbeddedExamples(**tf.nest.map_structure(join, *map(vars, parts)))
