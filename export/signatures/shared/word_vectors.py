"""`encode_words`: the signature of a text encoder, from sentences to vectors of their words."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from export.signatures import fields
from export.signatures.fields import Field, SignatureDoc
from export.signatures.shared.media import Answer, ServedFunction
from mm_models.text.encoders import word_encoder


class WordMeanings(NamedTuple):
    """What a text encoder's vectors are, for people.

    Attributes:
        sentences: how a sentence is read.
        words: of the vectors of words.
        first, second: of the two layers, which are twice as wide.
    """

    sentences: str
    words: str
    first: str
    second: str


def served_words(
    function: Answer,
    meanings: WordMeanings,
    width: int,
    further: Mapping[str, Field] | None = None,
) -> ServedFunction:
    """The signature of a text encoder (mm_models/text/encoders/word_encoder.py).

    Args:
        function: of `sentences: string[batch]`; gives what `word_vectors` does, and `further`.
        meanings: for its documentation.
        width: of a word vector.
        further: outputs besides those of every text encoder.
    """
    sentences = fields.input_field(fields.SENTENCE, f"UTF-8, {meanings.sentences}")
    told = {
        word_encoder.WORDS: (meanings.words, width),
        word_encoder.FIRST: (meanings.first, 2 * width),
        word_encoder.SECOND: (meanings.second, 2 * width),
    }
    outputs = {
        name: fields.output_field(
            fields.WORD_VECTORS, f"{meaning}; zeros behind the last word", ("words", str(size))
        )
        for name, (meaning, size) in told.items()
    }
    outputs[word_encoder.LENGTHS] = fields.output_field(fields.WORD_COUNT, "words of the sentence")
    doc = SignatureDoc(
        "Gives every word of a sentence vectors.",
        {word_encoder.INPUT: sentences},
        outputs | dict(further or {}),
    )
    return ServedFunction(doc, function)


def word_vectors(
    words: tf.Tensor, first: tf.Tensor, second: tf.Tensor, num_words: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Outputs of the signature, by name.

    Args:
        words: float[batch, words, width].
        first, second: float[batch, words, 2 * width].
        num_words: int32[batch]; what stands behind so many becomes zero.
    """
    inside = tf.sequence_mask(num_words, tf.shape(words)[1])[..., tf.newaxis]
    named = {word_encoder.WORDS: words, word_encoder.FIRST: first, word_encoder.SECOND: second}
    vectors = {
        name: tf.where(inside, tf.cast(layer, tf.float32), 0.0) for name, layer in named.items()
    }
    return vectors | {word_encoder.LENGTHS: num_words}
