"""IMP as served functions: stills, clips, sounds and strings to embeddings and classes."""

import collections
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from export.signatures import fields
from export.signatures.imp.inputs import ClassHead, ImpInputs, class_heads, largest_inputs
from export.signatures.shared.classes import class_answers, class_fields
from export.signatures.shared.embedding import EmbeddingSignatures
from export.signatures.shared.media import NOUNS, ServedFunction
from export.version.model_info import ModelInfo
from export.version.run_facts import model_info
from mm_models.imp.model import ImpModel
from mm_models.imp.tokens import DEFAULT_PATCH
from mm_models.text import label_prompts
from trainers.runs import Run


class ImpSignatures(EmbeddingSignatures):
    """Signatures of a trained IMP model.

    All signatures work row by row along axis 0: whatever experts do in training, in an export they
    see one row at a time. `<modality>_to_<other>` is to be compared with `<other>_to_<modality>`. A
    still is a video of one frame. `classify_<medium>` is the trained classifier of a medium, or
    `classify_<medium>_as_<classifier>` each of several.

    Args:
        model: ImpModel with trained weights.
        inputs: what the model takes, one size of each medium.
        heads: trained classifiers.
        info: facts of the run.

    Raises:
        UserError: text without a vocabulary.
    """

    _model: ImpModel

    def __init__(self, model: ImpModel, inputs: ImpInputs, heads: list[ClassHead], info: ModelInfo):
        known = set(model.modalities)
        self._sound = "audio" if "audio" in known else "waveform"
        has = {
            "image": inputs.still is not None and "video" in known,
            "video": inputs.config.video is not None and "video" in known,
            "audio": inputs.config.audio is not None and self._sound in known,
            "text": inputs.config.text is not None and "text" in known,
        }
        crop = inputs.still.crop if inputs.still is not None else "center"
        media = [medium for medium, is_taken in has.items() if is_taken]
        super().__init__("imp", batch_independent(model), inputs.config, media, info, crop)
        self._inputs, self._heads = inputs, [head for head in heads if head.medium in media]

    @classmethod
    def from_run(cls, run: Run, frame_rate_hz: float | None, checkpoint: str) -> "ImpSignatures":
        inputs = largest_inputs(run.task, run.config.streams)
        seen = run.model.modalities
        info = model_info(run, inputs.config, frame_rate_hz, checkpoint, seen, still=inputs.still)
        return cls(run.model, inputs, class_heads(run.task, run.config.streams), info)

    @property
    def caution(self) -> str:
        pairs = ", ".join(pair.replace("_", "-") for pair in self._inputs.pairs) or "none"
        return (
            f"{super().caution} Pairs of modalities that were trained to agree: {pairs}; places of "
            "any other pair say nothing."
        )

    def temperature(self, modality: str) -> tf.Tensor:
        return self._model.temperature(modality, "text")

    def compared(self, query: str, target: str) -> tuple[str, str]:
        if query != target:
            return self._model.spaces(query, target)
        # The space of a modality with itself is trained by no usual objective; the one with text
        # or, without text, with any other modality is.
        others = [name for name in ("text", *self._model.modalities) if name != query]
        known = [name for name in others if name in self._model.modalities]
        place = self._model.spaces(query, known[0] if known else query)[0]
        return place, place

    def record_input(self, medium: str) -> Any:
        if medium == "image":
            return dataclasses.replace(self._input, video=self._inputs.still)
        return self._input

    def patch(self, medium: str) -> str:
        return self._inputs.patches.get(medium, "")

    def modality(self, medium: str) -> str:
        return self._sound if medium == "audio" else super().modality(medium)

    def _places(self, medium: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._model.project({self.modality(medium): self._pooled(medium, inputs)})

    def _pooled(self, medium: str, inputs: tf.Tensor) -> tf.Tensor:
        """float[batch, dim], text float[batch, candidates, dim]."""
        modality, patch = self.modality(medium), self.patch(medium) or DEFAULT_PATCH

        def encode(rows: tf.Tensor) -> tf.Tensor:
            return self._model.encode({modality: rows}, patch=patch).pooled[modality]

        return self._once(medium, encode)(inputs)

    def _served(self) -> dict[str, ServedFunction]:
        return {**super()._served(), **self._classifiers()}

    def _classifiers(self) -> dict[str, ServedFunction]:
        count = collections.Counter(head.medium for head in self._heads)
        return {
            f"classify_{head.medium}{f'_as_{head.classifier}' if count[head.medium] > 1 else ''}": (
                self._of_media(
                    fields.MEDIA[head.medium][0],
                    f"Classifies {NOUNS[head.medium]} by the trained classifier "
                    f"`{head.classifier}`.",
                    functools.partial(self._classify, head),
                    class_fields(head.class_names, head.is_multi_label),
                )
            )
            for head in self._heads
        }

    def _classify(self, head: ClassHead, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self._model.classify(self._pooled(head.medium, inputs), head.classifier)
        return class_answers(logits, head.class_names, head.is_multi_label)

    def _label_templates(self, medium: str) -> Sequence[str]:
        return label_prompts.evaluation_prompts(medium)

    def _place_meanings(self, medium: str) -> dict[str, str]:
        modality = self.modality(medium)
        return {
            name: "place to compare with "
            + (
                "any other modality"
                if name.endswith("_joint")
                else f"{name.removeprefix(f'{modality}_to_')}'s, length 1"
            )
            for name in self._model.common.names_of(modality)
        }


def batch_independent(model: ImpModel) -> ImpModel:
    """The model, or a copy with its weights whose experts see one row at a time in evaluation."""
    config = model.config
    if not config.num_experts or config.experts.eval_group == "example":
        return model
    experts = dataclasses.replace(config.experts, eval_group="example")
    copy = ImpModel(dataclasses.replace(config, experts=experts), dtype=model.dtype_policy)
    for mine, trained in zip(copy.variables, model.variables, strict=True):
        mine.assign(trained)
    return copy
