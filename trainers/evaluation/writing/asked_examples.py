"""Evaluation examples that ask a model something: inputs, questions and right answers."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from trainers.data.config import InputConfig
from trainers.data.parts.prompted.builder import PromptedExample
from trainers.data.parts.prompted.catalog import PromptedCatalog
from trainers.evaluation.model_inputs import batches, clip_thumbnails, decoder_inputs
from trainers.evaluation.writing import text_pages


@dataclasses.dataclass(frozen=True)
class AskedBatch:
    """Examples that a model is asked about at once.

    Attributes:
        inputs: tensors for the model, by name, with padding rows.
        rows: int64[examples] the rows that are examples.
        example_ids: int64[examples] their ids.
        asked: what each of them asks, and the right answers.
        video: as in the batch, or None.
    """

    inputs: dict[str, tf.Tensor]
    rows: np.ndarray
    example_ids: np.ndarray
    asked: list[PromptedExample]
    video: tf.Tensor | None

    def pictures(self) -> list[bytes | None]:
        """A small JPEG of each example's clip, or None where there is no picture."""
        if self.video is None:
            return [None] * len(self.rows)
        kept = np.isin(np.arange(self.video.shape[0]), self.rows)
        return [text_pages.jpeg(frames) for frames in clip_thumbnails(self.video, kept)]


def require_prompts(name: str, input_config: InputConfig) -> SentencePieceTokenizer:
    """The tokenizer of an evaluator's prompts.

    Raises UserError unless its input asks exactly one task, once for each example.
    """
    prompted = input_config.prompted
    if prompted is None or len(prompted.tasks) != 1 or prompted.examples_per_row != 1:
        raise UserError(
            f"evaluators.{name}.input.prompted must have exactly one task and examples_per_row 1: "
            "prompts of different tasks are scored by evaluators of their own"
        )
    if input_config.num_views > 1:
        raise UserError(
            f"evaluators.{name}.input has {input_config.num_views} views of a clip; a text is "
            "written for one: set num_windows and num_crops to 1"
        )
    return SentencePieceTokenizer(prompted.vocabulary)


def usable_rows(batch: Mapping[str, tf.Tensor]) -> np.ndarray:
    """bool[batch]: rows that are examples and lack neither a prompt nor what is seen or heard."""
    usable = (batch["example_mask"].numpy() > 0) & (batch["inputs"].numpy()[:, 0] > 0)
    for name in ("video_mask", "audio_mask", "features_mask"):
        if name in batch:
            usable &= batch[name].numpy() > 0
    return usable


class AskedExampleReader:
    """Reads an evaluator's examples: every different prompt of every record, with all its right
    answers."""

    def __init__(self, name: str, input_config: InputConfig):
        """Opens the data sets.

        Raises UserError unless the input asks exactly one task, or where it cannot be read.
        """
        self._config = input_config
        self._tokenizer = require_prompts(name, input_config)
        self._catalog = PromptedCatalog.open(input_config, f"evaluators.{name}.input")

    def batches(self, max_examples: int = 0) -> Iterator[AskedBatch]:
        """All examples in order, or the first `max_examples`."""
        count = 0
        for batch in batches(self._config):
            rows = np.flatnonzero(usable_rows(batch))
            if max_examples:
                rows = rows[: max_examples - count]
            count += len(rows)
            if len(rows):
                yield AskedBatch(
                    decoder_inputs(batch),
                    rows,
                    batch["example_id"].numpy()[rows],
                    self._asked(batch, rows),
                    batch.get("video"),
                )
            if 0 < max_examples <= count:
                return

    def _asked(self, batch: Mapping[str, tf.Tensor], rows: np.ndarray) -> list[PromptedExample]:
        names = ("example_id", "task", "example_item")
        return self._catalog.describe(*(batch[name].numpy()[rows] for name in names))

    @property
    def tokenizer(self) -> SentencePieceTokenizer:
        """Of prompts and answers."""
        return self._tokenizer

    def texts(self, ids: tf.Tensor) -> list[str]:
        """Text of each row of `ids: int32[rows, tokens]`."""
        return [text.decode("utf-8", "replace") for text in self._tokenizer.detokenize(ids).numpy()]
