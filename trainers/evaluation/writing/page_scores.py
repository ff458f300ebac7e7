"""Scores of pages that have several captions, such as videos with a sentence for each segment."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mm_models.metrics import captioning
from mm_models.metrics.bleu import bleu_by_group
from mm_models.metrics.caption_tokens import caption_tokens, repetition_words
from mm_models.metrics.scores import Score, group_rows, macro_score, mean_score
from trainers.evaluation.writing.written_texts import GeneratedText


class PageKey(NamedTuple):
    """What the captions of a page have in common: `kind` is the wording that asked for them."""

    page: str
    language: str
    kind: str


def page_keys(examples: Sequence[GeneratedText]) -> list[PageKey]:
    """The page of each example."""
    return [PageKey(example.page, example.language, example.kind) for example in examples]


def page_scores(
    per_example: dict[str, np.ndarray], examples: Sequence[GeneratedText], metrics: Sequence[str]
) -> dict[str, Score]:
    """Macro scores, `<metric>_by_page`.

    A page's score is the mean of its captions', and BLEU that of all its captions together; then
    every page counts the same.

    Args:
        per_example: of the captions, by metric; one that not all examples have is left out.
        examples: the captions.
        metrics: among `captioning.METRICS`.
    """
    pages = page_keys(examples)
    found = {
        f"{metric}_by_page": macro_score(values, pages)
        for metric, values in per_example.items()
        if metric in captioning.METRICS and not np.isnan(values).any()
    }
    if "bleu" in metrics:
        words = [caption_tokens(example.text) for example in examples]
        references = [[caption_tokens(t) for t in example.references] for example in examples]
        page_of = np.zeros(len(examples), np.int64)
        for number, rows in enumerate(group_rows(pages).values()):
            page_of[rows] = number
        for order, values in enumerate(bleu_by_group(words, references, page_of).T, start=1):
            found[f"bleu_{order}_by_page"] = mean_score(values)
    return found


def repetition(examples: Sequence[GeneratedText]) -> Score:
    """How much pages repeat themselves, of one caption or several."""
    spoken = [repetition_words(example.text) for example in examples]
    return captioning.repetition(spoken, page_keys(examples))
