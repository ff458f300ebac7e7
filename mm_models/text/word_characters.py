"""Words as rows of the numbers of their bytes, made of strings in the graph."""

from typing import NamedTuple

import tensorflow as tf

from mm_models.text.tokenizer_base import PAD_ID

# A byte's number is its value and one.
_FIRST_BYTE = 1
BEGIN_WORD, END_WORD, BEGIN_SENTENCE, END_SENTENCE = range(_FIRST_BYTE + 256, _FIRST_BYTE + 260)
NUM_CHARACTERS = END_SENTENCE + 1
# What stands around a word, and the least that a word has room for.
_AROUND = 2
LEAST_WORD_CHARACTERS = _AROUND + 1


class SentenceCharacters(NamedTuple):
    """Sentences with what stands around them.

    Attributes:
        characters: int32[batch, words + 2, characters]: a row that begins the sentence, its words,
            a row that ends it right behind the last one, and zeros.
        num_words: int32[batch] words of each sentence, as many as there was room for.
    """

    characters: tf.Tensor
    num_words: tf.Tensor


def word_characters(words: tf.Tensor, num_characters: int) -> tf.Tensor:
    """Numbers of the UTF-8 bytes of words.

    A row is the mark that begins a word, its bytes, the mark that ends it, and padding (0). Bytes
    behind the first `num_characters - 2` are cut off.

    Args:
        words: string[...].
        num_characters: length of a row, at least 3.

    Returns:
        int32[..., num_characters].

    Source: Peters and others, Deep contextualized word representations, 2018; its released code.
    """
    most = num_characters - _AROUND
    values = tf.io.decode_raw(words, tf.uint8, fixed_length=most)
    lengths = tf.minimum(tf.strings.length(words), most)[..., tf.newaxis]
    # [..., characters]: a byte at place i is the byte i - 1 of the word.
    begin, end = tf.zeros_like(values[..., :1]), tf.zeros_like(values[..., :1])
    bytes_ = tf.cast(tf.concat([begin, values, end], axis=-1), tf.int32) + _FIRST_BYTE
    places = tf.range(num_characters)
    inside = tf.where(places <= lengths, bytes_, PAD_ID)
    marked = tf.where(places == lengths + 1, END_WORD, inside)
    return tf.where(places == 0, BEGIN_WORD, marked)


def sentence_characters(
    sentences: tf.Tensor, num_characters: int, num_words: int | None = None
) -> SentenceCharacters:
    """Rows of numbers of the words of sentences, which ASCII white space parts.

    Args:
        sentences: string[batch], UTF-8.
        num_characters: length of a row.
        num_words: most words of a sentence; of one that has more the rest is cut off, and no row
            ends it. None takes the longest one of the batch, and room for one at least.
    """
    split = tf.strings.split(sentences)
    counts = tf.cast(split.row_lengths(), tf.int32)
    longest = tf.maximum(tf.reduce_max(counts, axis=0), 1) if num_words is None else num_words
    words = split.to_tensor("", shape=[None, None])[:, :longest]
    words = tf.pad(words, [[0, 0], [0, longest - tf.shape(words)[1]]], constant_values="")
    words = tf.ensure_shape(words, [sentences.shape[0], num_words])
    characters = word_characters(words, num_characters)
    places = tf.range(longest + _AROUND)
    ends = tf.where(counts > longest, -1, counts + 1)
    inside = tf.logical_and(places >= 1, places <= counts[:, tf.newaxis])
    rows = tf.pad(characters, [[0, 0], [1, 1], [0, 0]])
    rows = tf.where(inside[..., tf.newaxis], rows, PAD_ID)
    for mark, place in ((BEGIN_SENTENCE, tf.zeros_like(ends)), (END_SENTENCE, ends)):
        here = places == place[:, tf.newaxis]
        rows = tf.where(here[..., tf.newaxis], _mark_row(mark, num_characters), rows)
    return SentenceCharacters(rows, tf.minimum(counts, longest))


def _mark_row(mark: int, num_characters: int) -> tf.Tensor:
    """int32[characters]: a word of one character that is no byte."""
    padding = [PAD_ID] * (num_characters - LEAST_WORD_CHARACTERS)
    return tf.constant([BEGIN_WORD, mark, END_WORD, *padding], tf.int32)


def read_word(characters) -> str:
    """The word of `characters: int[characters]`, as far as its row goes; empty for one of marks."""
    values = [int(number) - _FIRST_BYTE for number in characters]
    return bytes(value for value in values if 0 <= value < 256).decode("utf-8", "replace")
