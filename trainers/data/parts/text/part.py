"""Captions of an example as token ids."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models import checks
from mm_models.errors import UserError
from mm_models.text.tokenizer_base import PAD_ID, Tokenizer
from mm_models.text.tokenizers import build_tokenizer
from trainers.data.parts.base import InputPart, Parsed, Prepared, rows_with
from trainers.data.parts.text.captions import (
    CAPTION_KEYS,
    captions_lack,
    choose,
    random_ranks,
    usable_captions,
)
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch

TOKENIZERS = ("word", "whitespace", "wordpiece", "sentencepiece")


class TextPart(InputPart):
    """`text: int32[batch, candidates, tokens]`, its mask, and one of its candidates."""

    config: TextInputConfig
    wanted = Wanted(dict.fromkeys(CAPTION_KEYS, tf.string))
    contents = {contract.CAPTION: ("text",)}
    _tokenizer: Tokenizer | None = None

    def validate(self) -> None:
        """Checks sizes and tokenizer."""
        checks.check_fields(self.config, 1, ("num_candidates", "num_tokens"), self.field)
        checks.check_choice(self.config.tokenizer, TOKENIZERS, f"{self.field}.tokenizer")
        if not self.config.vocabulary:
            raise UserError(f"{self.field}.vocabulary is empty; name the vocabulary file")

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """Ids and masks."""
        candidates = [batch_size, self.config.num_candidates]
        return {
            "text": tf.TensorSpec([*candidates, self.config.num_tokens], tf.int32),
            "text_mask": tf.TensorSpec([batch_size], tf.float32),
            "text_candidate_mask": tf.TensorSpec(candidates, tf.float32),
        }

    def open(self, indexes, *, seed: int, training: bool) -> None:
        """Loads the vocabulary."""
        super().open(indexes, seed=seed, training=training)
        self._tokenizer = build_tokenizer(self.config.tokenizer, self.config.vocabulary)

    def plan(self) -> str:
        """The size of the vocabulary."""
        return f"  vocabulary: {self._tokenizer.vocabulary_size:,} ids"

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """Chooses captions and tokenises them."""
        captions = parsed[contract.CAPTION].to_tensor("")
        usable = usable_captions(parsed, raw.dataset, list(self.inputs.datasets.values()))
        ranks = tf.cast(tf.range(tf.shape(captions)[1]), tf.float32)
        ranks = tf.broadcast_to(ranks, tf.shape(captions))
        if self.training and self.config.random_candidates:
            ranks = random_ranks(raw.seeds, tf.shape(captions)[1])
        chosen, present = choose(captions, usable, ranks, self.config.num_candidates)
        mask = tf.cast(present, tf.float32)
        return Prepared(
            {
                "text": self._tokenizer.tokenize(chosen, self.config.num_tokens),
                "text_mask": tf.reduce_max(mask, axis=1),
                "text_candidate_mask": mask,
            }
        )

    def lacks(self, survey, dataset) -> str:
        """Names the filter that no caption passes, and what there is instead."""
        return captions_lack(survey, dataset) or super().lacks(survey, dataset)

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """Captions of which the vocabulary knows nothing."""
        unknown = self.facts(batch).get("unknown ids")
        if unknown != 1.0 or self.config.may_be_unknown:
            return []
        return [
            f"{self.config.vocabulary} has none of the words of the captions; make it of these "
            f"records with `mmstack vocabulary`, or set {self.field}.may_be_unknown to true"
        ]

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How many rows have captions, how many those have, and of how many ids."""
        rows = rows_with(batch, "text")
        found = {"rows that have it": float(rows.mean())}
        if rows.any():
            candidates, ids = batch["text_candidate_mask"][rows], batch["text"][rows]
            lengths = (ids != 0).sum(axis=-1)[candidates > 0]
            found |= {
                "captions of a row": float(candidates.sum(axis=1).mean()),
                "ids of a caption": float(lengths.mean()),
                "captions without ids": float((lengths == 0).mean()),
                "captions that another row has too": _shared(ids[:, 0]),
            }
            if self._tokenizer is not None:
                found["unknown ids"] = unknown_share(ids, self._tokenizer)
        return found


def unknown_share(ids: np.ndarray, tokenizer: Tokenizer) -> float:
    """Share of `ids: int32[...]`, apart from padding, that stand for what a vocabulary lacks.

    One of no ids at all, of which nothing is known either.
    """
    real = ids[ids != PAD_ID]
    return float((real == tokenizer.unknown_id).mean()) if real.size else 1.0


def _shared(captions: np.ndarray) -> float:
    """Share of the rows of `captions: int32[rows, tokens]` that are equal to another one."""
    _, places, counts = np.unique(captions, axis=0, return_inverse=True, return_counts=True)
    return float((counts[places.ravel()] > 1).mean())
