"""From prompts in words to rows of ids, inside the graph: tokenised, corrupted, packed."""

import numpy as np
import tensorflow as tf

from mm_models.text import packing
from mm_models.text.row_draws import fold_rows, row_uniform
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from mm_models.text.span_corruption import SpanCorruption, corrupt, noise_mask
from mm_models.text.templates import Templates
from trainers.data.parts.prompted.config import PromptedInputConfig
from trainers.data.parts.prompted.reader import RawPrompts

_WINDOW, _NOISE = 11, 12
# A rest of a row with room for fewer tokens is left empty.
_SHORTEST = 2


class PromptProcessor:
    """Makes `inputs`, `targets` and what goes with them."""

    def __init__(
        self, config: PromptedInputConfig, templates: Templates, tokenizer: SentencePieceTokenizer
    ):
        """Takes an opened input."""
        self._config = config
        self._tokenizer = tokenizer
        self._corruption = SpanCorruption()
        tasks = [templates.task(name) for name in config.tasks]
        self._corrupts = [task.corrupts for task in tasks]
        self._inputs_end = [task.inputs_end for task in tasks]
        self._sizes = (config.num_input_tokens, config.num_target_tokens)

    @property
    def longest_text(self) -> int:
        """Most tokens of a text that is corrupted whole."""
        return self._corruption.longest(*self._sizes)

    def __call__(self, prompts: RawPrompts, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
        """Rows of one batch.

        Args:
            prompts: texts as tensors.
            seeds: int32[batch, 2] one seed per row.

        Returns:
            `inputs: int32[batch, num_input_tokens]`, `targets: int32[batch, num_target_tokens]`,
            `task`, `language`, `example_item: int32[batch]`; of packed rows also `input_segments`,
            `input_positions`, `target_segments`, `target_positions`, in the shapes of their ids.
        """
        count = self._config.examples_per_row
        task = tf.repeat(prompts.task, count)
        seeds = tf.reshape(
            tf.stack([fold_rows(seeds, place) for place in range(count)], axis=1), [-1, 2]
        )
        texts = tf.reshape(prompts.inputs, [-1]), tf.reshape(prompts.targets, [-1])
        inputs, targets = self._examples(*texts, task, seeds)
        batch = {"task": prompts.task, "language": prompts.language, "example_item": prompts.item}
        if count == 1:
            return {"inputs": inputs, "targets": targets} | batch
        rows = [tf.reshape(ids, [-1, count, ids.shape[1]]) for ids in (inputs, targets)]
        return packing.pack(*rows) | batch

    def _examples(self, inputs, targets, task, seeds) -> tuple[tf.Tensor, tf.Tensor]:
        """int32[examples, num_input_tokens] and int32[examples, num_target_tokens]."""
        if all(self._corrupts):
            return self._corrupted(inputs, seeds)
        answers = self._tokenizer.tokenize(targets, self._sizes[1], end=True)
        # Padding has no words, and not even an end.
        present = (inputs != "")[:, tf.newaxis]
        plain = [tf.where(present, ids, 0) for ids in (self._inputs(inputs, task), answers)]
        if not any(self._corrupts):
            return tuple(plain)
        chosen = tf.gather(self._corrupts, task)[:, tf.newaxis]
        corrupted = self._corrupted(inputs, seeds)
        return tuple(tf.where(chosen, *pair) for pair in zip(corrupted, plain, strict=True))

    def _inputs(self, texts: tf.Tensor, task: tf.Tensor) -> tf.Tensor:
        size = self._sizes[0]
        if all(self._inputs_end):
            return self._tokenizer.tokenize(texts, size, end=True)
        endless = self._tokenizer.tokenize(texts, size)
        if not any(self._inputs_end):
            return endless
        ends = tf.gather(self._inputs_end, task)[:, tf.newaxis]
        return tf.where(ends, self._tokenizer.tokenize(texts, size, end=True), endless)

    def _corrupted(self, texts: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Text by span corruption; of one too long, a stretch somewhere in it."""
        num_tokens = self.longest_text
        ragged = self._tokenizer.ragged(texts)
        lengths = tf.cast(ragged.row_lengths(), tf.int32)
        free = tf.maximum(lengths - num_tokens, 0)
        draw = row_uniform(fold_rows(seeds, _WINDOW), 1)[:, 0]
        start = tf.minimum(tf.cast(draw * tf.cast(free + 1, tf.float32), tf.int32), free)
        dense = tf.pad(ragged.to_tensor(), [[0, 0], [0, num_tokens]])
        places = start[:, tf.newaxis] + tf.range(num_tokens)
        ids = tf.gather(dense, places, batch_dims=1)
        lengths = self._fitting(tf.minimum(lengths, num_tokens), num_tokens)
        mask = noise_mask(lengths, num_tokens, fold_rows(seeds, _NOISE), self._corruption)
        both = corrupt(ids, lengths, mask, self._tokenizer.vocabulary_size)
        present = (lengths > 0)[:, tf.newaxis]
        return tuple(
            tf.where(present, _fit(ids, size), 0)
            for ids, size in zip(both, self._sizes, strict=True)
        )

    def _fitting(self, lengths: tf.Tensor, num_tokens: int) -> tf.Tensor:
        """Tokens of each example that its row has room for: the first one too many is cut."""
        count = self._config.examples_per_row
        if count == 1:
            return lengths
        rows = tf.reshape(lengths, [-1, count])
        longest = tf.fill(tf.shape(rows), num_tokens)
        all_sizes = self._corruption.sizes(np.arange(num_tokens + 1))
        for sizes, room in zip(all_sizes, self._sizes, strict=True):
            sizes = np.where(np.arange(num_tokens + 1), sizes, 0).astype(np.int32)
            fits = np.searchsorted(sizes, np.arange(room + 1), side="right") - 1
            left = room - tf.cumsum(tf.gather(sizes, rows), axis=1, exclusive=True)
            longest = tf.minimum(longest, tf.gather(fits.astype(np.int32), tf.maximum(left, 0)))
        rows = tf.minimum(rows, longest)
        return tf.reshape(tf.where(rows >= _SHORTEST, rows, 0), [-1])


def _fit(ids: tf.Tensor, size: int) -> tf.Tensor:
    """Cuts or pads int32[batch, any] to int32[batch, size]."""
    ids = ids[:, :size]
    return tf.pad(ids, [[0, 0], [0, size - ids.shape[1]]])
