"""A character language model as a served function: sentences to vectors of their words."""

from typing import Any

import numpy as np
import tensorflow as tf

from export.signatures import fields
from export.signatures.base import Arrays
from export.signatures.fields import SignatureDoc
from export.signatures.shared.media import (
    MediaSignatures,
    ServedFunction,
    ServedModule,
    check_streams,
)
from export.version.model_info import ModelInfo
from export.version.run_facts import model_info
from mm_models.character_language_model.model import CharacterLanguageModel
from mm_models.text.word_characters import sentence_characters
from trainers.runs import Run


class CharacterLanguageModelSignatures(MediaSignatures):
    """`encode_words`: what each layer says of each word, of any number of sentences.

    Answers have room for the longest sentence of a request.

    Args:
        model: with trained weights.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        info: facts of the run.
    """

    def __init__(self, model: CharacterLanguageModel, input_config: Any, info: ModelInfo):
        module = ServedModule("character_language_model", model)
        super().__init__(module, input_config, ("text",), info)
        self._model = model

    @classmethod
    def from_run(
        cls, run: Run, frame_rate_hz: float | None, checkpoint: str
    ) -> "CharacterLanguageModelSignatures":
        check_streams(run.config.streams)
        inputs = next(iter(run.config.streams.values())).input
        return cls(run.model, inputs, model_info(run, inputs, frame_rate_hz, checkpoint, ()))

    @property
    def caution(self) -> str:
        return (
            "Vectors of the two layers of LSTM depend on the whole sentence: a word has others in "
            "another one. Those of different trained models do not compare."
        )

    def reference(self, name: str, inputs: Arrays) -> Arrays:
        """As of every system; each sentence alone, with zeros behind it up to the longest one."""
        rows = [
            self._encode(tf.constant(inputs["sentences"][row : row + 1]))
            for row in range(len(inputs["sentences"]))
        ]
        longest = max(row["word_emb"].shape[1] for row in rows)
        return {
            key: np.concatenate([_widened(row[key], longest) for row in rows]) for key in rows[0]
        }

    def _served(self) -> dict[str, ServedFunction]:
        config = self._model.config
        width, both = str(config.width), str(2 * config.width)
        room = config.num_characters - 2
        sentences = fields.input_field(
            fields.SENTENCE,
            f"UTF-8, parted into words by white space; of a word the first {room} bytes count",
        )
        meanings = {
            "word_emb": (width, "of words without their sentence"),
            "lstm1": (both, "of words in their sentence, first layer: read forward, then backward"),
            "lstm2": (both, "the same of the second layer"),
        }
        outputs = {
            name: fields.output_field(
                fields.WORD_VECTORS, f"{meaning}; zeros behind the last word", ("words", size)
            )
            for name, (size, meaning) in meanings.items()
        }
        outputs["sequence_len"] = fields.output_field(fields.WORD_COUNT, "words of the sentence")
        doc = SignatureDoc(
            "Gives every word of a sentence vectors.", {"sentences": sentences}, outputs
        )
        return {"encode_words": ServedFunction(doc, self._encode)}

    def _encode(self, sentences: tf.Tensor) -> dict[str, tf.Tensor]:
        characters, counts = sentence_characters(sentences, self._model.config.num_characters)
        layers = self._model.read(characters)
        inside = tf.sequence_mask(counts, tf.shape(characters)[1] - 2, tf.float32)[..., tf.newaxis]
        named = {"word_emb": layers.word_emb, "lstm1": layers.lstm1, "lstm2": layers.lstm2}
        # The first row begins the sentence; the one that ends it stands behind its last word.
        outputs = {
            name: tf.cast(layer[:, 1:-1], tf.float32) * inside for name, layer in named.items()
        }
        return outputs | {"sequence_len": counts}


def _widened(value: tf.Tensor, longest: int) -> np.ndarray:
    """An output of one sentence with room for `longest` words."""
    if value.shape.rank < 3:
        return value.numpy()
    return np.pad(value, [(0, 0), (0, longest - value.shape[1]), (0, 0)])
