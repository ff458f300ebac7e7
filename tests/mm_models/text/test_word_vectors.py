"""Word vectors: both forms, the order of the vocabulary, and files that do not fit."""

import numpy as np
import pytest

from mm_models.errors import UserError
from mm_models.text.tokenizers import word_indices
from mm_models.text.word_vectors import read_word_vectors

INDICES = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3, "cut": 4, "onions": 5, "é": 6}


def write(tmp_path, text: str) -> str:
    path = tmp_path / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("header", ["", "4 2\n"])
def test_text_is_put_in_the_order_of_the_vocabulary(tmp_path, header):
    path = write(tmp_path, header + "é 5 6\nother 1 1\ncut 1.5 -2e-1 \ncut 9 9\n")
    vectors = read_word_vectors(path, 8, 2, INDICES)
    assert vectors.found.tolist() == [False] * 4 + [True, False, True, False]
    np.testing.assert_allclose(vectors.rows[4], [1.5, -0.2])
    np.testing.assert_allclose(vectors.rows[6], [5, 6])


def test_arrays_are_taken_as_they_are(tmp_path):
    rows = np.random.default_rng(0).normal(size=(8, 2))
    np.save(tmp_path / "vectors.npy", rows)
    vectors = read_word_vectors(str(tmp_path / "vectors.npy"), 8, 2)
    assert vectors.found.all() and vectors.rows.dtype == np.float32
    np.testing.assert_allclose(vectors.rows, rows, rtol=1e-6)
    for shape in ((9, 2), (8, 3)):
        with pytest.raises(UserError, match=r"float64\[8, 2\].*text.vocabulary_size"):
            read_word_vectors(str(tmp_path / "vectors.npy"), *shape)
    (tmp_path / "broken.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match="no NumPy array"):
        read_word_vectors(str(tmp_path / "broken.npy"), 8, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cut 1 2 3\n", "line 1 has 3 numbers for 'cut'"),
        ("2 2\ncut 1\n", "line 2 has 1 numbers"),
        ("cut 1 x\n", "line 1: could not convert"),
        ("Onions 1 2\n", "none of the 7 words"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        read_word_vectors(write(tmp_path, text), 8, 2, INDICES)


def test_a_missing_file_and_a_missing_vocabulary_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.txt cannot be read"):
        read_word_vectors(str(tmp_path / "none.txt"), 8, 2, INDICES)
    with pytest.raises(UserError, match="needs a word vocabulary"):
        read_word_vectors(write(tmp_path, "cut 1 2\n"), 8, 2)


def test_indices_are_those_of_the_tokenizer(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(f"{index} {word}" for word, index in INDICES.items()) + "\n")
    assert word_indices(str(path)) == INDICES
