"""How probable a model finds given texts."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from mm_models.contracts import Scores
from mm_models.text.sentence_pieces import SentencePieceTokenizer

LABELS = "labels"


def score_texts(model: Scores, tensors: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """float32[batch, labels] sums of log p; the tensors hold `labels: int32[labels, tokens]`."""
    inputs = dict(tensors)
    labels = inputs.pop(LABELS)
    return model.score(inputs, labels)


def text_ids(
    texts: Sequence[str], tokenizer: SentencePieceTokenizer, most_tokens: int
) -> np.ndarray:
    """int32[texts, tokens]: ids with the end, padded with 0 to the longest of them.

    Args:
        texts: to be scored.
        tokenizer: of the model.
        most_tokens: longer texts are cut to this, their end included.
    """
    ids = tokenizer.tokenize(tf.constant(list(texts)), most_tokens, end=True).numpy()
    return ids[:, : max(1, int((ids > 0).sum(axis=1).max(initial=1)))]


def log_sum_exp(values: np.ndarray, axis: int) -> np.ndarray:
    """log of the sum of exp, float64, with `axis` gone."""
    values = np.asarray(values, np.float64)
    largest = values.max(axis=axis, keepdims=True)
    sums = np.log(np.exp(values - largest).sum(axis=axis, keepdims=True)) + largest
    return sums.squeeze(axis)
