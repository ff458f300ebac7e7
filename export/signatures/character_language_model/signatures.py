"""A character language model as a served function: sentences to vectors of their words."""

from typing import Any

import tensorflow as tf

from export.signatures.shared.media import (
    MediaSignatures,
    ServedFunction,
    ServedModule,
    check_streams,
)
from export.signatures.shared.word_vectors import WordMeanings, served_words, word_vectors
from export.version.model_info import ModelInfo
from export.version.run_facts import model_info
from mm_models.character_language_model.model import CharacterLanguageModel
from mm_models.text.encoders.word_encoder import SIGNATURE
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

    def _served(self) -> dict[str, ServedFunction]:
        config = self._model.config
        room = config.num_characters - 2
        meanings = WordMeanings(
            f"parted into words by white space; of a word the first {room} bytes count",
            "of words without their sentence",
            "of words in their sentence, first layer: read forward, then backward",
            "the same of the second layer",
        )
        return {SIGNATURE: served_words(self._encode, meanings, config.width)}

    def _encode(self, sentences: tf.Tensor) -> dict[str, tf.Tensor]:
        characters, counts = sentence_characters(sentences, self._model.config.num_characters)
        layers = self._model.read(characters)
        # The first row begins the sentence; the one that ends it stands behind its last word.
        read = (layer[:, 1:-1] for layer in (layers.word_emb, layers.lstm1, layers.lstm2))
        return word_vectors(*read, counts)
