"""Captions of a batch with how probable the model found each of their words."""

import numpy as np
import tensorflow as tf

from mm_models.character_language_model.model import CharacterLanguageModel
from mm_models.text.word_characters import BEGIN_SENTENCE, END_SENTENCE, read_word
from trainers.evaluation.pictures.panels import Panel, TextPanel
from trainers.tasks.terms import Batch

_CAPTIONS = 4
_MARKS = {BEGIN_SENTENCE: "begin", END_SENTENCE: "end"}
_HEAD = "| word | read forward | read backward |\n|---|---|---|"


def word_panels(model: CharacterLanguageModel, batch: Batch) -> list[Panel]:
    """A table for each of the first captions."""
    characters = batch["characters"][:_CAPTIONS]
    words = batch["words"][:_CAPTIONS]
    shares = word_probabilities(model, characters, words).numpy()
    return [
        TextPanel(f"words/{number}", _table(rows, values))
        for number, (rows, values) in enumerate(zip(characters.numpy(), shares, strict=True))
    ]


def word_probabilities(
    model: CharacterLanguageModel, characters: tf.Tensor, words: tf.Tensor
) -> tf.Tensor:
    """float32[batch, 2, rows]: what the model read forward, and backward, gives each row's word.

    Nothing is said of the first row forward, nor of the last one backward: there they are 0.

    Args:
        model: with or without training.
        characters: int32[batch, rows, characters].
        words: int32[batch, rows].
    """
    log_p = tf.nn.log_softmax(model({"characters": characters}))
    ahead = tf.gather(log_p[:, 0, :-1], words[:, 1:], axis=2, batch_dims=2)
    back = tf.gather(log_p[:, 1, 1:], words[:, :-1], axis=2, batch_dims=2)
    present = tf.cast(tf.reduce_any(characters != 0, axis=-1), tf.float32)[:, 1:]
    ahead, back = tf.exp(ahead) * present, tf.exp(back) * present
    return tf.stack([tf.pad(ahead, [[0, 0], [1, 0]]), tf.pad(back, [[0, 0], [0, 1]])], axis=1)


def _table(rows: np.ndarray, shares: np.ndarray) -> str:
    """A line a word; a dash where nothing is said."""
    lines = [_HEAD]
    for place, row in enumerate(rows):
        if row.any():
            word = _MARKS.get(int(row[1]), "") or read_word(row).replace("|", "\\|")
            cells = [f"{share:.4f}" if share else "-" for share in shares[:, place]]
            lines.append(f"| {word} | {' | '.join(cells)} |")
    return "\n".join(lines)
