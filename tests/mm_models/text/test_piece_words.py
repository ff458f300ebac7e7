"""Pieces of ids, and the words that pieces are parts of."""

import tensorflow as tf

from mm_models.text.piece_words import piece_words
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from tests.mm_models.text.pieces import write_model


def test_words_of_pieces():
    pieces = [" Le", "ft", " of", " the", " 3", ",", " x", "", ""]
    assert piece_words(pieces) == ["left", "left", "of", "the", "3", "3", "x", "", ""]
    assert piece_words(["one", " two"]) == ["one", "two"]
    assert piece_words([]) == [] and piece_words([""]) == [""]


def test_pieces_of_ids(tmp_path):
    tokenizer = SentencePieceTokenizer(write_model(tmp_path / "pieces.model"))
    text = "the picture shows a red three"
    ids = tokenizer.tokenize(tf.constant([text]), 20, end=True).numpy()[0]
    pieces = tokenizer.pieces(ids)
    assert "".join(pieces).strip() == text and len(pieces) == 20
    count = int((ids > 1).sum())
    assert all(pieces[:count]) and not any(pieces[count:])
    assert list(dict.fromkeys(filter(None, piece_words(pieces)))) == text.split()
    assert tokenizer.pieces([tokenizer.vocabulary_size, -1, 0, 1]) == [""] * 4
    spelled = tokenizer.tokenize(tf.constant(["v\u00f8"]), 8).numpy()[0]
    assert "".join(tokenizer.pieces(spelled)) == " v<0xC3><0xB8>"
