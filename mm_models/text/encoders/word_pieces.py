"""Words of sentences as the pieces that they are made of, and vectors of pieces as those of words.

Words are what ASCII white space separates, as a text encoder's signature has them; each is cut into
pieces by itself.
"""

from typing import NamedTuple

import tensorflow as tf

from mm_models.text.sentence_pieces import SentencePieceTokenizer
from mm_models.text.tokenizer_base import PAD_ID

_NO_WORD = -1


class WordPieces(NamedTuple):
    """Sentences as pieces whose words are known.

    Attributes:
        ids: int32[batch, pieces], 0 is padding.
        words: int32[batch, pieces] which word of the sentence a piece is a part of; -1 for the end
            and the padding.
        num_words: int32[batch] words of a sentence of which some piece was read, or that have none.
        is_cut: bool[batch] whether pieces were left out.
    """

    ids: tf.Tensor
    words: tf.Tensor
    num_words: tf.Tensor
    is_cut: tf.Tensor


def word_pieces(
    sentences: tf.Tensor,
    tokenizer: SentencePieceTokenizer,
    num_pieces: int,
    end_id: int | None = None,
) -> WordPieces:
    """The pieces of the words of sentences, one word after another; works in graphs.

    Args:
        sentences: string[batch], UTF-8.
        tokenizer: cuts words into pieces.
        num_pieces: pieces of a row, cut or padded on the right.
        end_id: what closes every row before the padding, also one that was cut; None for nothing.
    """
    split = tf.strings.split(sentences)
    pieces = tokenizer.ragged(split.flat_values)
    ids = split.with_values(pieces).merge_dims(1, 2)
    number = tf.ragged.range(split.row_lengths()).flat_values
    words = ids.with_values(tf.cast(tf.repeat(number, pieces.row_lengths()), tf.int32))
    room = num_pieces if end_id is None else num_pieces - 1
    is_cut = ids.row_lengths() > room
    ids = ids[:, :room]
    if end_id is not None:
        ends = tf.fill([ids.nrows(), 1], tf.constant(end_id, tf.int32))
        ids = tf.concat([ids, tf.RaggedTensor.from_tensor(ends)], axis=1)
    shape = [sentences.shape[0], num_pieces]
    of_pieces = words[:, :room].to_tensor(_NO_WORD, shape=[None, num_pieces])
    found = tf.cast(split.row_lengths(), tf.int32)
    return WordPieces(
        tf.ensure_shape(ids.to_tensor(PAD_ID, shape=[None, num_pieces]), shape),
        tf.ensure_shape(of_pieces, shape),
        tf.where(is_cut, of_pieces[:, room - 1] + 1, found),
        is_cut,
    )


def word_means(values: tf.Tensor, pieces: WordPieces) -> tf.Tensor:
    """Vectors of words: of each the mean over its pieces.

    Args:
        values: float[batch, pieces, dim].
        pieces: of `word_pieces`.

    Returns:
        float32[batch, words, dim], with room for the longest sentence and for one word at least;
        zeros behind the last word and for a word without pieces.
    """
    longest = tf.maximum(tf.reduce_max(pieces.num_words), 1)
    of_word = pieces.words[:, tf.newaxis, :] == tf.range(longest)[:, tf.newaxis]
    shares = tf.cast(of_word, tf.float32)  # [batch, words, pieces]
    total = tf.matmul(shares, tf.cast(values, tf.float32))
    return tf.math.divide_no_nan(total, tf.reduce_sum(shares, axis=2, keepdims=True))
