"""What systems with a common space of media and text share: embeddings, cosines, classes."""

import abc
import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from export.signatures import fields
from export.signatures.base import ComparingSignatures
from export.signatures.fields import Field, SignatureDoc
from export.signatures.shared.maps import maps_served
from export.signatures.shared.media import NOUNS, MediaSignatures, ServedFunction, ServedModule
from export.version.model_info import ModelInfo
from mm_models.contracts import Embeds
from mm_models.text.tokenizers import build_tokenizer


class EmbeddingSignatures(MediaSignatures, ComparingSignatures):
    """Signatures of a model whose outputs for media and text can be compared.

    `encode_<medium>` gives places of length 1, so that a dot product is a cosine similarity;
    `similarity_<medium>` compares with sentences, and `classify_<medium>_with_labels` with names of
    classes.

    Args:
        name: of the module that holds the weights.
        model: a Keras model with trained weights.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        media: what the signatures take, any of `image`, `video`, `audio` and `text`.
        info: facts of the run.
        still_crop: see MediaSignatures.

    Raises:
        UserError: text without a vocabulary.
    """

    def __init__(
        self,
        name: str,
        model: Embeds,
        input_config: Any,
        media: Sequence[str],
        info: ModelInfo,
        still_crop: str = "center",
    ):
        tokenizer = None
        if "text" in media:
            text = input_config.text
            tokenizer = build_tokenizer(text.tokenizer, text.vocabulary)
        module = ServedModule(name, model, tokenizer)
        super().__init__(module, input_config, tuple(media), info, still_crop)
        self._model = model

    @property
    def default_name(self) -> str:
        """The signature behind `serving_default`: the first one that compares with sentences, or
        the first one of all."""
        docs = self.docs()
        comparing = (name for name, doc in docs.items() if fields.SENTENCES in doc.input_kinds)
        return next(comparing, next(iter(docs)))

    @property
    def caution(self) -> str:
        return (
            "Similarities rank; a probability only compares the sentences of one request with each "
            "other."
        )

    @property
    def embedders(self) -> dict[str, str]:
        return {medium: f"encode_{medium}" for medium in self._media}

    def patch(self, medium: str) -> str:
        return ""

    def modality(self, medium: str) -> str:
        return "video" if medium == "image" else medium

    @abc.abstractmethod
    def _place_meanings(self, medium: str) -> dict[str, str]:
        """What each place of a medium is to be compared with, by output."""

    def _label_templates(self, medium: str) -> Sequence[str]:
        """Sentences with `{}` for the name of a class, whose mean is the class's place."""
        return ("{}",)

    def _places(self, medium: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Outputs of the model for `image`, `video`, `audio` or `text`."""
        return self._once(medium, lambda x: self._model.embed({self.modality(medium): x}))(inputs)

    def _served(self) -> dict[str, ServedFunction]:
        maps = maps_served(self._model, self._input, self._info)
        return {**self._encoders(), **self._comparisons(), **maps}

    def _encoders(self) -> dict[str, ServedFunction]:
        served: dict[str, ServedFunction] = {}
        for medium in (medium for medium in self._media if medium != "text"):
            served |= self._in_each_form(
                f"encode_{medium}",
                medium,
                f"Embeds {NOUNS[medium]}.",
                functools.partial(self._embed, medium),
                self._place_fields(medium),
            )
        if "text" in self._media:
            tokens = f"UTF-8; the first {self._info.num_tokens} tokens are used"
            inputs = {"text": fields.input_field(fields.SENTENCE, tokens)}
            doc = SignatureDoc("Embeds sentences.", inputs, self._place_fields("text"))
            served["encode_text"] = ServedFunction(doc, self._embed_text)
        return served

    def _comparisons(self) -> dict[str, ServedFunction]:
        if "text" not in self._media:
            return {}
        served = {}
        tokens = self._info.num_tokens
        meaning = f"UTF-8 sentences to compare with, {tokens} tokens each"
        texts = {"texts": fields.input_field(fields.SENTENCES, meaning)}
        meaning = "UTF-8 names of classes to choose from"
        labels = {"labels": fields.input_field(fields.CLASS_NAMES, meaning)}
        best = fields.output_field(fields.CHOICE, "the most probable label")
        for medium in (medium for medium in self._media if medium != "text"):
            kind, noun = fields.MEDIA[medium][0], NOUNS[medium]
            served[f"similarity_{medium}"] = self._of_media(
                kind,
                f"Compares {noun} with sentences.",
                functools.partial(self._compare, medium),
                self._score_fields(medium, fields.SENTENCE_SCORES, "texts"),
                texts,
            )
            templates = len(self._label_templates(medium))
            served[f"classify_{medium}_with_labels"] = self._of_media(
                kind,
                f"Finds each of the {noun}'s best label; a label is "
                + (f"the mean of {templates} sentences around it." if templates > 1 else "read."),
                functools.partial(self._best_label, medium),
                self._score_fields(medium, fields.CLASS_NAME_SCORES, "labels")
                | {"best_label": best},
                labels,
            )
        return served

    def _place_fields(self, medium: str) -> dict[str, Field]:
        return {
            name: fields.output_field(fields.EMBEDDING, meaning)
            for name, meaning in self._place_meanings(medium).items()
        }

    def _score_fields(self, medium: str, kind: str, axis: str) -> dict[str, Field]:
        temperature = float(self.temperature(self.modality(medium)))
        return {
            "similarity": fields.output_field(kind, "cosine similarity in [-1, 1]"),
            "probability": fields.output_field(
                kind, f"softmax(similarity / {temperature:.4g}) over {axis}"
            ),
        }

    def _embed(self, medium: str, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Normalised float32[batch, dim] per space of `image`, `video`, `audio` or `text`."""
        return {
            name: tf.math.l2_normalize(tf.cast(value, tf.float32), axis=-1)
            for name, value in self._places(medium, inputs).items()
            if name.startswith(f"{self.modality(medium)}_")
        }

    def _embed_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Normalised float32[batch, dim] per space of `text: string[batch]`."""
        ids = self._module.tokenizer.tokenize(text, self._input.text.num_tokens)
        # [batch, tokens] → one candidate per row: [batch, 1, tokens]
        embedded = self._embed("text", ids[:, tf.newaxis])
        return {name: tf.reshape(e, [-1, e.shape[-1]]) for name, e in embedded.items()}

    def _compare(
        self, medium: str, inputs: tf.Tensor, texts: tf.Tensor, templates: Sequence[str] = ("{}",)
    ) -> dict[str, tf.Tensor]:
        """Cosine similarity and probability: float32[batch, texts].

        Args:
            medium: `image`, `video` or `audio`.
            inputs: what the model takes.
            texts: string[batch, texts].
            templates: sentences with a place for a text; a text's direction is the mean over them.
        """
        modality = self.modality(medium)
        space, text_space = self._model.spaces(modality, "text")
        row = self._embed(medium, inputs)[space]
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

    def _best_label(
        self, medium: str, inputs: tf.Tensor, labels: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        answers = self._compare(medium, inputs, labels, self._label_templates(medium))
        best = tf.argmax(answers["similarity"], axis=-1, output_type=tf.int32)
        return answers | {"best_label": tf.gather(labels, best, axis=1, batch_dims=1)}


def fill(template: str, words: tf.Tensor) -> tf.Tensor:
    """string[any]: the template with each of `words`, string[any], in all its places `{}`."""
    parts = template.split("{}")
    pieces: list[Any] = [parts[0]]
    for part in parts[1:]:
        pieces += [words, part]
    return tf.strings.join(pieces)
