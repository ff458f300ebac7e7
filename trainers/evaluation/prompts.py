"""Tokens of class prompts, by the tokenizer that the text input names."""

import numpy as np
import tensorflow as tf

from mm_models.text.tokenizers import build_tokenizer
from trainers.data.config import TextInputConfig


class PromptTokenizer:
    """Turns nested lists of strings into token ids of fixed length."""

    def __init__(self, text: TextInputConfig):
        """Reads the vocabulary. Raises UserError when it cannot be read."""
        self._num_tokens = text.num_tokens
        self._tokenizer = build_tokenizer(text.tokenizer, text.vocabulary)

    def __call__(self, prompts: list[list[str]]) -> np.ndarray:
        """int32[classes, prompts, num_tokens], cropped or padded with 0 on the right."""
        return self._tokenizer.tokenize(tf.constant(prompts), self._num_tokens).numpy()
