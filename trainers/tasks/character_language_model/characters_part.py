"""Captions of an example as words of characters."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from beam_pipelines.record.survey import Survey
from mm_models import checks
from mm_models.errors import UserError
from mm_models.text.tokenizers import WhitespaceTokenizer
from mm_models.text.word_characters import (
    BEGIN_SENTENCE,
    END_SENTENCE,
    LEAST_WORD_CHARACTERS,
    sentence_characters,
)
from trainers.data.config import DatasetConfig
from trainers.data.parts.base import InputPart, Parsed, Prepared, rows_with
from trainers.data.parts.text.captions import (
    captions_lack,
    choose,
    random_ranks,
    usable_captions,
)
from trainers.data.reading.example_source import ExampleSource
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch
from trainers.tasks.character_language_model.caption_examples import (
    CAPTION_KEYS,
    CaptionExamples,
)
from trainers.tasks.character_language_model.characters_config import CharactersInputConfig


class CharactersPart(InputPart):
    """Rows of characters, the words that they are, and which examples have any.

    A caption has a row that begins it, rows of its words and, where none is cut off, a row that
    ends it; `words` has the vocabulary's ids of all of them.
    """

    config: CharactersInputConfig
    wanted = Wanted(dict.fromkeys(CAPTION_KEYS, tf.string))
    contents = {contract.CAPTION: ("text",)}

    def validate(self) -> None:
        """Checks sizes and vocabulary."""
        checks.check_at_least(self.config.num_words, 1, f"{self.field}.num_words")
        field = f"{self.field}.num_characters"
        checks.check_at_least(self.config.num_characters, LEAST_WORD_CHARACTERS, field)
        if not self.config.vocabulary:
            raise UserError(f"{self.field}.vocabulary is empty; name the vocabulary file")

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """Characters, ids of words, and the mask."""
        rows = [batch_size, self.config.num_words + 2]
        return {
            "characters": tf.TensorSpec([*rows, self.config.num_characters], tf.int32),
            "words": tf.TensorSpec(rows, tf.int32),
            "characters_mask": tf.TensorSpec([batch_size], tf.float32),
        }

    def open(self, indexes: Sequence[RecordIndex], *, seed: int, training: bool) -> None:
        """Loads the vocabulary."""
        super().open(indexes, seed=seed, training=training)
        self._indexes = list(indexes)
        self._tokenizer = WhitespaceTokenizer(self.config.vocabulary)

    def example_source(self) -> ExampleSource | None:
        """In evaluation, every caption that the data sets keep."""
        if self.training:
            return None
        return CaptionExamples(self._indexes, list(self.inputs.datasets.values()), self.field)

    def plan(self) -> str:
        """The size of the vocabulary."""
        return f"  vocabulary: {self._tokenizer.vocabulary_size:,} words"

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """Chooses captions and spells them."""
        captions = parsed[contract.CAPTION].to_tensor("")
        usable = usable_captions(parsed, raw.dataset, list(self.inputs.datasets.values()))
        if self.training:
            ranks = random_ranks(raw.seeds, tf.shape(captions)[1])
        else:
            places = tf.cumsum(tf.cast(usable, tf.int32), axis=1) - 1
            ranks = tf.cast(places != raw.extra[:, tf.newaxis], tf.float32)
        chosen, present = choose(captions, usable, ranks, 1)
        return Prepared(
            self._spelled(chosen[:, 0]) | {"characters_mask": tf.cast(present[:, 0], tf.float32)}
        )

    def _spelled(self, sentences: tf.Tensor) -> dict[str, tf.Tensor]:
        """Characters and ids of `sentences: string[batch]`."""
        config, tokenizer = self.config, self._tokenizer
        characters, _ = sentence_characters(sentences, config.num_characters, config.num_words)
        marks = characters[:, :, 1]
        ids = tf.pad(tokenizer.tokenize(sentences, config.num_words), [[0, 0], [1, 1]])
        for mark, number in (
            (BEGIN_SENTENCE, tokenizer.begin_id),
            (END_SENTENCE, tokenizer.end_id),
        ):
            ids = tf.where(marks == mark, number, ids)
        return {"characters": characters, "words": ids}

    def lacks(self, survey: Survey, dataset: DatasetConfig) -> str:
        """Names the filter that no caption passes, and what there is instead."""
        return captions_lack(survey, dataset) or super().lacks(survey, dataset)

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """Captions of which the vocabulary knows nothing."""
        if self.facts(batch).get("unknown words") != 1.0:
            return []
        return [
            f"{self.config.vocabulary} has none of the words of the captions; make it of these "
            "records with `mmstack vocabulary --kind=whitespace`"
        ]

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How many rows have a caption, of how many words, and how many of these are known."""
        rows = rows_with(batch, "characters")
        found = {"rows that have it": float(rows.mean())}
        if not rows.any():
            return found
        characters, ids = batch["characters"][rows], batch["words"][rows]
        marks = characters[:, :, 1]
        real = (marks != 0) & (marks != BEGIN_SENTENCE) & (marks != END_SENTENCE)
        ends = (marks == END_SENTENCE).any(axis=1)
        found["words of a caption"] = float(real.sum(axis=1).mean())
        found["captions that are cut"] = float(1.0 - ends.mean())
        if real.any():
            found["unknown words"] = float((ids[real] == self._tokenizer.unknown_id).mean())
            found["words that fill their rows"] = float((characters[real][:, -1] != 0).mean())
        return found
