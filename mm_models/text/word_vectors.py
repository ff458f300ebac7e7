"""Word vectors made elsewhere, brought into the order of a vocabulary."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mm_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class WordVectors:
    """Rows of a word table.

    Attributes:
        rows: float32[vocabulary, dim]; zeros where no word was found.
        found: bool[vocabulary], which rows the file has.
    """

    rows: np.ndarray
    found: np.ndarray


def read_word_vectors(
    path: str, num_rows: int, dim: int, word_indices: Mapping[str, int] | None = None
) -> WordVectors:
    """Reads a `.npy` array, or word2vec's text form.

    An array float[num_rows, dim] is in the vocabulary's order already. A text file has a word and
    its numbers a line, separated by spaces, and may begin with a line of their counts; the words
    are looked up as they stand, and of a repeated one the first counts.

    Args:
        path: file, local or remote; the array is told by its name's end.
        num_rows, dim: shape of the word table.
        word_indices: row of each word of the vocabulary, for the text form.

    Raises:
        UserError: the file cannot be read, is malformed, has another shape, or not one of the
            words; or a text file without a vocabulary.
    """
    try:
        if path.endswith(".npy"):
            return _read_array(path, num_rows, dim)
        if word_indices is None:
            raise UserError(
                f"word vectors {path} are a text file, which needs a word vocabulary to be put in "
                "order; set a stream's text.vocabulary with tokenizer word, or give a .npy array"
            )
        return _read_text(path, num_rows, dim, word_indices)
    except tf.errors.OpError as error:
        reason = str(error.message).splitlines()[0]
        raise UserError(f"word vectors {path} cannot be read ({reason}); check the path") from error


def _read_array(path: str, num_rows: int, dim: int) -> WordVectors:
    with tf.io.gfile.GFile(path, "rb") as file:
        try:
            rows = np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"word vectors {path} are no NumPy array ({error})") from error
    if rows.shape != (num_rows, dim) or rows.dtype.kind != "f":
        raise UserError(
            f"word vectors {path} are {rows.dtype}{list(rows.shape)}, the word table is "
            f"float32[{num_rows}, {dim}]; set text.vocabulary_size and text.embedding_dim to match"
        )
    return WordVectors(rows.astype(np.float32), np.ones(num_rows, bool))


def _read_text(path: str, num_rows: int, dim: int, word_indices: Mapping[str, int]) -> WordVectors:
    rows, found = np.zeros((num_rows, dim), np.float32), np.zeros(num_rows, bool)
    with tf.io.gfile.GFile(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            word, *values = line.decode("utf-8", "replace").split()
            if number == 1 and len(values) == 1:
                continue
            if len(values) != dim:
                raise UserError(
                    f"word vectors {path}, line {number} has {len(values)} numbers for {word!r}, "
                    f"but text.embedding_dim is {dim}; make them equal"
                )
            row = word_indices.get(word)
            if row is not None and row < num_rows and not found[row]:
                rows[row], found[row] = _numbers(values, path, number), True
    if not found.any():
        raise UserError(
            f"word vectors {path} have none of the {len(word_indices)} words of the vocabulary; "
            "give vectors of the same language, with lower-case words"
        )
    return WordVectors(rows, found)


def _numbers(values: list[str], path: str, number: int) -> np.ndarray:
    try:
        return np.array(values, np.float32)
    except ValueError as error:
        raise UserError(f"word vectors {path}, line {number}: {error}") from error
