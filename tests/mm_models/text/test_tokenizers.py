"""Tokenizers: ids by hand, real vocabularies, exported graphs, mistakes."""

import pathlib

import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.tokenizers import build_tokenizer

VOCABULARIES = pathlib.Path(__file__).parents[4] / "shared" / "data" / "vocab"
WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", "cut", "the", "onions", "äpfel"]
real = pytest.mark.skipif(not VOCABULARIES.exists(), reason="the shared vocabularies are absent")


def write(path, lines) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_words_by_hand(tmp_path):
    tokenizer = build_tokenizer("word", write(tmp_path / "words.txt", WORDS))
    assert tokenizer.vocabulary_size == 8
    captions = [["Cut, the onions!", "cut\tthe  onions"], ["", "the Äpfel, o.k. cut the"]]
    ids = tokenizer.tokenize(tf.constant(captions), 4)
    assert ids.shape == (2, 2, 4) and ids.dtype == tf.int32
    assert ids.numpy().tolist() == [
        [[4, 5, 6, 0], [4, 5, 6, 0]],
        [[0, 0, 0, 0], [5, 7, 3, 4]],
    ]
    assert tokenizer.tokenize("cut", 2).numpy().tolist() == [4, 0]


def test_words_as_they_stand_by_hand(tmp_path):
    words = [*WORDS[:4], "Cut,", "cut", "onions!", "o.k."]
    tokenizer = build_tokenizer("whitespace", write(tmp_path / "words.txt", words))
    ids = tokenizer.tokenize(["Cut, cut\tthe  onions!", "O.K. o.k.\n", "<bos> x\u00a0y"], 4)
    assert ids.numpy().tolist() == [[4, 5, 3, 6], [3, 7, 0, 0], [1, 3, 0, 0]]
    assert (tokenizer.begin_id, tokenizer.end_id, tokenizer.unknown_id) == (1, 2, 3)


def test_indexed_lines_in_any_order(tmp_path):
    lines = [f"{index} {word}" for index, word in enumerate(WORDS)]
    tokenizer = build_tokenizer("word", write(tmp_path / "words.txt", lines[::-1]))
    assert tokenizer.tokenize(["the cut x"], 4).numpy().tolist() == [[5, 4, 3, 0]]


@real
def test_real_vocabularies():
    pieces = build_tokenizer("wordpiece", str(VOCABULARIES / "bert_uncased_vocab.txt"))
    assert pieces.vocabulary_size == 30522
    assert pieces.tokenize(["Hello, the Wörld!"], 7).numpy().tolist() == [
        [7592, 1010, 1996, 2088, 999, 0, 0]
    ]
    sentences = build_tokenizer("sentencepiece", str(VOCABULARIES / "sentencepiece_en_1000.model"))
    assert sentences.vocabulary_size == 1001
    ids = sentences.tokenize(["the and", ""], 5).numpy()
    # Ids 5 and 9 of the model, whose first is <unk>, moved up by one to leave 0 to padding.
    assert ids[1].tolist() == [0] * 5 and ids[0, 0] > 1 and ids[0, 2:].tolist() == [0, 0, 0]


class _Exported(tf.Module):
    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="captions")])
    def ids(self, captions):
        return self.tokenizer.tokenize(captions, 6)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("word", None),
        pytest.param("wordpiece", "bert_uncased_vocab.txt", marks=real),
        pytest.param("sentencepiece", "sentencepiece_en_1000.model", marks=real),
    ],
)
def test_travels_inside_a_saved_model(kind, name, tmp_path):
    words = tmp_path / "words.txt"
    path = write(words, WORDS) if name is None else str(VOCABULARIES / name)
    module = _Exported(build_tokenizer(kind, path))
    captions = tf.constant(["Cut, the onions!", ""])
    expected = module.ids(captions).numpy().tolist()
    tf.saved_model.save(module, str(tmp_path / "saved"))
    if name is None:
        words.unlink()
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert loaded.ids(captions).numpy().tolist() == expected


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["<pad>", "<bos>", "<eos>"], "lacks"),
        (["<bos>", "<pad>", "<eos>", "<unk>"], "must be index 0"),
        ([*WORDS, "cut"], "twice"),
        ([*WORDS, " knife"], "line 9"),
        ([*WORDS, "", "knife"], "line 9"),
        (["0 <pad>", "one <bos>"], "line 2"),
    ],
)
def test_malformed_word_files(lines, words, tmp_path):
    with pytest.raises(UserError, match=words):
        build_tokenizer("word", write(tmp_path / "words.txt", lines))


def test_mistakes_are_told(tmp_path):
    path = write(tmp_path / "words.txt", WORDS)
    for kind, where, words in (
        ("letters", path, "must be one of"),
        ("word", "", "has no vocabulary"),
        ("word", str(tmp_path / "nothing"), "cannot be read"),
        ("wordpiece", path, r"begin with \[PAD\]"),
        ("sentencepiece", path, "not a SentencePiece model"),
        ("sentencepiece", str(tmp_path / "nothing"), "cannot be read"),
    ):
        with pytest.raises(UserError, match=words):
            build_tokenizer(kind, where)
