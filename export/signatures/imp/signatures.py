"""IMP as served functions: stills, clips, sounds and strings to embeddings and classes."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from export.signatures.base import SignatureDoc
from export.signatures.imp.inputs import ClassHead, ImpInputs, class_heads, largest_inputs
from export.signatures.shared import media
from export.signatures.shared.classes import class_answers, class_docs
from export.signatures.shared.embedding import EmbeddingSignatures
from export.version.model_info import ModelInfo
from mm_models.imp.model import ImpModel
from mm_models.text import label_prompts

# What each kind is sent as: the first way is also that of comparisons and classes.
SENT_AS = {
    "image": {"": media.IMAGE_JPEG, "_pixels": media.IMAGE},
    "video": {"": media.JPEG, "_pixels": media.FRAMES},
    "audio": {"": media.WAVEFORM, "_wav": media.WAV},
}
NOUNS = {"image": "stills", "video": "clips", "audio": "sounds"}


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One signature: its inputs, the function of them, and its documentation."""

    specs: list[tf.TensorSpec]
    function: Callable[..., dict[str, tf.Tensor]]
    doc: SignatureDoc


class ImpSignatures(EmbeddingSignatures):
    """Signatures of a trained IMP model.

    All signatures work row by row along axis 0: whatever experts do in training, in an export they
    see one row at a time. Embeddings have length 1, so that a dot product is a cosine similarity;
    `<modality>_to_<other>` is to be compared with `<other>_to_<modality>`. A still is a video of
    one frame.

    Args:
        model: ImpModel with trained weights.
        inputs: what the model takes, one size of each kind.
        heads: trained classifiers.
        info: facts of the run.

    Raises:
        UserError: text without a vocabulary.
    """

    def __init__(self, model: ImpModel, inputs: ImpInputs, heads: list[ClassHead], info: ModelInfo):
        known = set(model.modalities)
        self._sound = "audio" if "audio" in known else "waveform"
        has = {
            "image": inputs.still is not None and "video" in known,
            "video": inputs.config.video is not None and "video" in known,
            "audio": inputs.config.audio is not None and self._sound in known,
            "text": inputs.config.text is not None and "text" in known,
        }
        self._kinds = [kind for kind in SENT_AS if has[kind]]
        kinds = (*self._kinds, *(["text"] if has["text"] else []))
        crop = inputs.still.crop if inputs.still is not None else "center"
        super().__init__("imp", batch_independent(model), inputs.config, kinds, info, crop)
        self._inputs, self._heads = inputs, heads
        self._prepare = {
            media.IMAGE_JPEG.name: self._still_from_jpeg,
            media.IMAGE.name: self._still_from_pixels,
            media.JPEG.name: self._clip_from_jpeg,
            media.FRAMES.name: self._clip_from_frames,
            media.WAVEFORM.name: self._sound_from_waveform,
            media.WAV.name: self._sound_from_wav,
        }
        self._entries = {**self._encoders(), **self._comparisons(), **self._classifiers()}

    @classmethod
    def from_run(cls, run: Any, frame_rate_hz: float | None, checkpoint: str) -> "ImpSignatures":
        """From `trainers.runs.load_run`.

        Args:
            run: the loaded run.
            frame_rate_hz: rate of the frames in the records, where no record folder tells it.
            checkpoint: what was asked for, for the model card.
        """
        from export.version.run_facts import model_info

        inputs = largest_inputs(run.task, run.config.streams)
        info = model_info(
            run,
            inputs.config,
            frame_rate_hz,
            checkpoint,
            run.model.modalities,
            still=inputs.still,
        )
        return cls(run.model, inputs, class_heads(run.task, run.config.streams), info)

    @property
    def default_name(self) -> str:
        """The signature behind `serving_default`: the most useful one there is."""
        compared = [name for name in self._entries if name.startswith("similarity_")]
        return (compared or list(self._entries))[0]

    @property
    def caution(self) -> str:
        pairs = ", ".join(pair.replace("_", "-") for pair in self._inputs.pairs) or "none"
        return (
            f"{super().caution} Pairs of modalities that were trained to agree: {pairs}; places of "
            "any other pair say nothing."
        )

    @property
    def embedders(self) -> dict[str, str]:
        return {kind: f"encode_{kind}" for kind in self._modalities}

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

    def record_input(self, kind: str) -> Any:
        if kind == "image":
            return dataclasses.replace(self._input, video=self._inputs.still)
        return self._input

    def patch(self, kind: str) -> str:
        return self._inputs.patches.get(kind, "")

    def modality(self, kind: str) -> str:
        return {"image": "video", "audio": self._sound}.get(kind, kind)

    def docs(self) -> dict[str, SignatureDoc]:
        return {name: entry.doc for name, entry in self._entries.items()}

    def _specs(self) -> dict[str, list[tf.TensorSpec]]:
        return {name: entry.specs for name, entry in self._entries.items()}

    def _batch_function(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        return self._entries[name].function

    def _places(self, kind: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._model.project({self.modality(kind): self._pooled(kind, inputs)})

    def _pooled(self, kind: str, inputs: tf.Tensor) -> tf.Tensor:
        """float[batch, dim], text float[batch, candidates, dim]."""
        patch = {"patch": self.patch(kind)} if self.patch(kind) else {}
        modality = self.modality(kind)

        def encode(rows: tf.Tensor) -> tf.Tensor:
            return self._model.encode({modality: rows}, training=False, **patch).pooled[modality]

        return self._once(kind, encode)(inputs)

    def _encoders(self) -> dict[str, _Entry]:
        entries = {}
        for kind in self._kinds:
            for suffix, spec in SENT_AS[kind].items():
                entries[f"encode_{kind}{suffix}"] = self._entry(
                    f"Embeds {NOUNS[kind]}.",
                    [spec],
                    self._of_media(spec, functools.partial(self._embed, kind)),
                    self._place_docs(kind),
                )
        if "text" in self._modalities:
            entries["encode_text"] = self._entry(
                "Embeds sentences.", [media.TEXT], self._embed_text, self._place_docs("text")
            )
        return entries

    def _comparisons(self) -> dict[str, _Entry]:
        if "text" not in self._modalities:
            return {}
        entries = {}
        for kind in self._kinds:
            spec = SENT_AS[kind][""]
            entries[f"similarity_{kind}"] = self._entry(
                f"Compares {NOUNS[kind]} with sentences.",
                [spec, media.TEXTS],
                self._of_media(spec, functools.partial(self._compare, kind)),
                self._similarity_docs(kind, "texts"),
            )
            templates = label_prompts.evaluation_prompts(kind)
            best = {"best_label": "string[batch]: the most probable label"}
            entries[f"classify_{kind}_with_labels"] = self._entry(
                f"Finds each of the {NOUNS[kind]}'s best label; a label is the mean of "
                f"{len(templates)} sentences around it.",
                [spec, media.LABELS],
                self._of_media(spec, functools.partial(self._best_label, kind)),
                self._similarity_docs(kind, "labels") | best,
            )
        return entries

    def _classifiers(self) -> dict[str, _Entry]:
        entries = {}
        for head in (head for head in self._heads if head.kind in self._kinds):
            spec = SENT_AS[head.kind][""]
            entries[f"classify_{head.kind}_as_{head.classifier}"] = self._entry(
                f"Classifies {NOUNS[head.kind]} by the trained classifier `{head.classifier}`.",
                [spec],
                self._of_media(spec, functools.partial(self._classify, head)),
                class_docs(head.class_names, head.is_multi_label),
            )
        return entries

    def _of_media(
        self, spec: tf.TensorSpec, answer: Callable[..., dict[str, tf.Tensor]]
    ) -> Callable[..., dict[str, tf.Tensor]]:
        """A function of what is sent, and maybe of strings, from one of what the model takes."""
        prepare = self._prepare[spec.name]
        return lambda sent, *strings: answer(prepare(sent), *strings)

    def _classify(self, head: ClassHead, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self._model.classify(self._pooled(head.kind, inputs), head.classifier)
        return class_answers(logits, head.class_names, head.is_multi_label)

    def _best_label(self, kind: str, inputs: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        answers = self._compare(kind, inputs, labels, label_prompts.evaluation_prompts(kind))
        best = tf.argmax(answers["similarity"], axis=-1, output_type=tf.int32)
        return answers | {"best_label": tf.gather(labels, best, axis=1, batch_dims=1)}

    def _entry(
        self,
        summary: str,
        specs: list[tf.TensorSpec],
        function: Callable[..., dict[str, tf.Tensor]],
        outputs: dict[str, str],
    ) -> _Entry:
        tokens = self._info.num_tokens
        docs = media.input_docs(self._info) | {
            "text": f"string[batch]: UTF-8; the first {tokens} tokens are used",
            "texts": f"string[batch, texts]: UTF-8 sentences to compare with, {tokens} tokens each",
            "labels": "string[batch, labels]: UTF-8 names of classes to choose from",
        }
        inputs = {spec.name: docs[spec.name] for spec in specs}
        return _Entry(specs, function, SignatureDoc(summary, inputs, outputs))

    def _place_docs(self, kind: str) -> dict[str, str]:
        modality = self.modality(kind)
        return {
            name: "float32[batch, dim]: place to compare with "
            + (
                "any other modality"
                if name.endswith("_joint")
                else f"{name.removeprefix(f'{modality}_to_')}'s, length 1"
            )
            for name in self._model.common.names_of(modality)
        }

    def _similarity_docs(self, kind: str, axis: str) -> dict[str, str]:
        temperature = float(self.temperature(self.modality(kind)))
        return {
            "similarity": f"float32[batch, {axis}]: cosine similarity in [-1, 1]",
            "probability": f"float32[batch, {axis}]: softmax(similarity / {temperature:.4g}) over "
            f"{axis}; the temperature is learned",
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
