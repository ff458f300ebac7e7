"""Rows of bytes by hand: marks, cuts, sentences that are empty, odd or too long."""

import pytest
import tensorflow as tf

from mm_models.text.word_characters import (
    BEGIN_SENTENCE,
    BEGIN_WORD,
    END_SENTENCE,
    END_WORD,
    NUM_CHARACTERS,
    read_word,
    sentence_characters,
    word_characters,
)

BEGIN = [BEGIN_WORD, BEGIN_SENTENCE, END_WORD, 0, 0]
END = [BEGIN_WORD, END_SENTENCE, END_WORD, 0, 0]
NOTHING = [0] * 5


def row(text: bytes) -> list[int]:
    kept = [byte + 1 for byte in text[:3]]
    return ([BEGIN_WORD, *kept, END_WORD] + [0] * 5)[:5]


def test_words_by_hand():
    assert (NUM_CHARACTERS, BEGIN_WORD, END_SENTENCE) == (261, 257, 260)
    words = ["a", "Ab", "abc", "abcdef", "", "\x00", "é", "日本"]
    rows = word_characters(tf.constant([words]), 5)
    assert rows.shape == (1, 8, 5) and rows.dtype == tf.int32
    assert rows[0].numpy().tolist() == [row(word.encode()) for word in words]
    assert [read_word(one) for one in rows[0].numpy()][:4] == ["a", "Ab", "abc", "abc"]
    assert read_word(BEGIN) == read_word(NOTHING) == ""


@pytest.mark.parametrize("num_words", [None, 3])
def test_sentences_by_hand(num_words):
    sentences = tf.constant(["a\tB ", "", "  c d\n e"])
    rows, counts = sentence_characters(sentences, 5, num_words)
    assert counts.numpy().tolist() == [2, 0, 3]
    assert rows.numpy().tolist() == [
        [BEGIN, row(b"a"), row(b"B"), END, NOTHING],
        [BEGIN, END, NOTHING, NOTHING, NOTHING],
        [BEGIN, row(b"c"), row(b"d"), row(b"e"), END],
    ]


def test_sentences_that_are_cut_do_not_end():
    rows, counts = sentence_characters(tf.constant(["a b c", "a b"]), 5, 2)
    assert counts.numpy().tolist() == [2, 2]
    assert rows.numpy().tolist() == [
        [BEGIN, row(b"a"), row(b"b"), NOTHING],
        [BEGIN, row(b"a"), row(b"b"), END],
    ]
    assert rows.shape == (2, 4, 5)


def test_there_is_room_for_a_word_where_there_is_none():
    for sentences in ([""], []):
        rows, _ = sentence_characters(tf.constant(sentences, tf.string), 5)
        assert rows.shape == (len(sentences), 3, 5)
