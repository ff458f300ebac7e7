"""Words as pieces: which word a piece is of, rows that are cut or closed, means over pieces."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.text.encoders.word_pieces import word_means, word_pieces
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from tests.mm_models.text.pieces import write_model

# The second one's first word is normalised away.
SENTENCES = tf.constant(["red  blau", " \u200b\tred", ""])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return SentencePieceTokenizer(write_model(tmp_path_factory.mktemp("words") / "pieces.model"))


@pytest.mark.parametrize("end_id", [None, 1])
@pytest.mark.parametrize("num_pieces", [12, 5, 2])
def test_pieces_are_those_of_the_text_and_of_their_word(tokenizer, num_pieces, end_id):
    found = word_pieces(SENTENCES, tokenizer, num_pieces, end_id)
    texts = tf.constant(["red blau", "red", ""])
    whole = tokenizer.tokenize(texts, num_pieces, end=end_id is not None)
    np.testing.assert_array_equal(found.ids, whole)
    counts = tokenizer.ragged(tf.constant(["red", "blau"])).row_lengths().numpy()
    room = num_pieces - (end_id is not None)
    words = np.repeat([0, 1], counts)[:room]
    np.testing.assert_array_equal(found.words[0], [*words, *[-1] * (num_pieces - len(words))])
    assert found.is_cut.numpy().tolist() == [counts.sum() > room, counts[0] > room, False]
    assert found.num_words.numpy().tolist() == [words.max() + 1, 2, 0]


def test_a_word_is_the_mean_of_its_pieces(tokenizer):
    found = word_pieces(SENTENCES, tokenizer, 12, 1)
    values = np.random.default_rng(0).normal(size=[3, 12, 4]).astype(np.float32)
    means = word_means(tf.constant(values), found).numpy()
    assert means.shape == (3, 2, 4) and not np.any(means[1, 0]) and not np.any(means[2])
    for row, word in ((0, 0), (0, 1), (1, 1)):
        expected = values[row][found.words[row].numpy() == word].mean(axis=0)
        np.testing.assert_allclose(means[row, word], expected, atol=1e-6)
    nothing = word_pieces(SENTENCES[2:], tokenizer, 12)
    assert word_means(tf.constant(values[2:]), nothing).shape == (1, 1, 4)
