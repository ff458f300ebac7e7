"""What systems with a common space of media and text share: embeddings, cosines, classes."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from export.signatures.shared.media import MediaSignatures, ServedModule
from export.version.model_info import ModelInfo
from mm_models.text.tokenizers import build_tokenizer


class EmbeddingSignatures(MediaSignatures):
    """Signatures of a model whose outputs for media and text can be compared.

    Args:
        name: of the module that holds the weights.
        model: has `embed` and `spaces`, with trained weights.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        modalities: those that the signatures take.
        info: facts of the run.
        still_crop: see MediaSignatures.

    Raises:
        UserError: text without a vocabulary.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        input_config: Any,
        modalities: tuple[str, ...],
        info: ModelInfo,
        still_crop: str = "center",
    ):
        tokenizer = None
        if "text" in modalities:
            text = input_config.text
            tokenizer = build_tokenizer(text.tokenizer, text.vocabulary)
        module = ServedModule(name, model, tokenizer)
        super().__init__(module, input_config, modalities, info, still_crop)
        self._model = model
        self._traced: dict[str, Callable] = {}

    @property
    def caution(self) -> str:
        return (
            "Similarities rank; a probability only compares the sentences of one request with each "
            "other."
        )

    @abc.abstractmethod
    def temperature(self, modality: str) -> tf.Tensor | float:
        """What similarities of `modality` with text are divided by for probabilities."""

    @abc.abstractmethod
    def compared(self, query: str, target: str) -> tuple[str, str]:
        """Outputs by which a query of one modality is compared with another or with its own."""

    @abc.abstractmethod
    def record_input(self, kind: str) -> Any:
        """What records are read with to be compared with, by `image`, `video` or `audio`."""

    def patch(self, kind: str) -> str:
        """Name of the patches that `image` and `video` are cut into; empty for the default ones."""
        return ""

    def modality(self, kind: str) -> str:
        """The model's modality for `image`, `video`, `audio` or `text`: a still is a video."""
        return "video" if kind == "image" else kind

    def _places(self, kind: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Outputs of the model for `image`, `video`, `audio` or `text`."""
        return self._once(kind, lambda x: self._model.embed({self.modality(kind): x}))(inputs)

    def _once(self, kind: str, function: Callable) -> Callable:
        """`function` of what the model takes for `kind`, traced once for all signatures.

        Signatures that share an encoder so share one function of the graph, which saves most of
        the time that writing and loading takes. Outside graphs it is the function itself.
        """
        if not tf.inside_function():
            return function
        if kind not in self._traced:
            self._traced[kind] = tf.function(function, autograph=False)
        return self._traced[kind]

    def _embed(self, kind: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Normalised float32[batch, dim] per space of `image`, `video`, `audio` or `text`."""
        return {
            name: tf.math.l2_normalize(tf.cast(value, tf.float32), axis=-1)
            for name, value in self._places(kind, inputs).items()
            if name.startswith(f"{self.modality(kind)}_")
        }

    def _embed_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Normalised float32[batch, dim] per space of `text: string[batch]`."""
        ids = self._module.tokenizer.tokenize(text, self._input.text.num_tokens)
        # [batch, tokens] → one candidate per row: [batch, 1, tokens]
        embedded = self._embed("text", ids[:, tf.newaxis])
        return {name: tf.reshape(e, [-1, e.shape[-1]]) for name, e in embedded.items()}

    def _compare(
        self,
        kind: str,
        inputs: tf.Tensor,
        texts: tf.Tensor,
        templates: Sequence[str] = ("{}",),
    ) -> dict[str, tf.Tensor]:
        """Cosine similarity and probability: float32[batch, texts].

        Args:
            kind: `image`, `video` or `audio`.
            inputs: what the model takes.
            texts: string[batch, texts].
            templates: sentences with a place for a text; a text's direction is the mean over them.
        """
        modality = self.modality(kind)
        space, text_space = self._model.spaces(modality, "text")
        row = self._embed(kind, inputs)[space]
        # The rows of a batch often share their texts: each different one is embedded once.
        different, index = tf.unique(tf.reshape(texts, [-1]))
        sentences = tf.stack([fill(template, different) for template in templates], axis=1)
        embedded = self._embed_text(tf.reshape(sentences, [-1]))[text_space]
        # [texts * templates, dim] → [texts, templates, dim] → [texts, dim]
        embedded = tf.reshape(embedded, [-1, len(templates), embedded.shape[-1]])
        directions = tf.math.l2_normalize(tf.reduce_mean(embedded, axis=1), axis=-1)
        embedded = tf.gather(directions, index)
        embedded = tf.reshape(embedded, tf.concat([tf.shape(texts), [row.shape[-1]]], axis=0))
        similarity = tf.einsum("bd,btd->bt", row, embedded)
        scores = similarity / self.temperature(modality)
        return {"similarity": similarity, "probability": tf.nn.softmax(scores, axis=-1)}


def fill(template: str, words: tf.Tensor) -> tf.Tensor:
    """The template with each word in all its places.

    Args:
        template: `{}` is a place.
        words: string[any].

    Returns:
        string[any].
    """
    parts = template.split("{}")
    pieces: list[Any] = [parts[0]]
    for part in parts[1:]:
        pieces += [words, part]
    return tf.strings.join(pieces)
