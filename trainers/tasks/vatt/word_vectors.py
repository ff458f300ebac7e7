"""A VATT word table that starts from word vectors made elsewhere."""

from collections.abc import Mapping

from mm_models.text.tokenizers import word_indices
from mm_models.text.word_vectors import read_word_vectors
from mm_models.vatt.encoders import VattEncoders
from trainers.config.schema import StreamConfig


def load_word_vectors(model: VattEncoders, path: str, streams: Mapping[str, StreamConfig]) -> str:
    """Puts the vectors of a file into the model's word table; words it lacks keep their rows.

    Args:
        model: whose table is filled.
        path: see `read_word_vectors`.
        streams: the experiment's, of which the first with a word vocabulary orders a text file.

    Returns:
        A line that says how many rows were found.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    table = model.word_table.numpy()
    texts = [stream.input.text for stream in streams.values()]
    vocabulary = next(
        (text.vocabulary for text in texts if text is not None and text.tokenizer == "word"), ""
    )
    indices = word_indices(vocabulary) if vocabulary else None
    vectors = read_word_vectors(path, *table.shape, indices)
    table[vectors.found] = vectors.rows[vectors.found]
    model.set_word_vectors(table)
    entries = len(indices) if indices and not path.endswith(".npy") else len(table)
    return f"word vectors {path}: {vectors.found.sum()} of {entries} rows of the word table"
