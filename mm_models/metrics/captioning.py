"""Scores of captions as the COCO caption toolkit defines them."""

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

from mm_models.errors import UserError
from mm_models.metrics.bleu import bleu
from mm_models.metrics.caption_tokens import caption_tokens
from mm_models.metrics.cider import cider_d
from mm_models.metrics.meteor_jar import MeteorJar
from mm_models.metrics.meteor_light import meteor_light
from mm_models.metrics.ngrams import Words, ngram_counts
from mm_models.metrics.rouge import rouge_l
from mm_models.metrics.scores import Score, group_rows, mean_score

METRICS = ("cider", "bleu", "rouge_l", "meteor", "meteor_light")


@dataclasses.dataclass(frozen=True)
class CaptionScores:
    """Scores of a set of captions in one language.

    Attributes:
        table: by name: `cider` (on the scale to 10), `bleu_1` to `bleu_4`, `rouge_l`, and `meteor`
            or `meteor_light`.
        per_example: float64[examples] by the same names.
    """

    table: dict[str, Score]
    per_example: dict[str, np.ndarray]


def caption_scores(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str] = ("cider", "bleu", "rouge_l"),
    *,
    language: str = "en",
    jar: MeteorJar | None = None,
) -> CaptionScores:
    """Scores captions against one or more references each.

    Args:
        candidates: one caption an example.
        references: of each example.
        metrics: among `METRICS`. `meteor` is METEOR 1.5, for English alone, where a jar is given,
            and else `meteor_light` under that name.
        language: of the captions; stems are matched in English only.
        jar: as `find_meteor` gives it.

    Raises:
        UserError: an unknown metric, or an example without references.
    """
    check_metrics(metrics)
    return word_scores(
        [caption_tokens(caption) for caption in candidates],
        [[caption_tokens(caption) for caption in own] for own in references],
        metrics,
        language=language,
        jar=jar,
    )


def word_scores(
    candidates: Sequence[Words],
    references: Sequence[Sequence[Words]],
    metrics: Sequence[str],
    *,
    language: str = "en",
    jar: MeteorJar | None = None,
) -> CaptionScores:
    """`caption_scores` of captions that are cut into words already."""
    table: dict[str, Score] = {}
    each: dict[str, np.ndarray] = {}
    if "cider" in metrics:
        each["cider"] = cider_d(candidates, references)
    if "bleu" in metrics:
        found = bleu(candidates, references)
        for order, (value, error) in enumerate(
            zip(found.corpus, found.standard_errors, strict=True), start=1
        ):
            each[f"bleu_{order}"] = found.per_example[:, order - 1]
            table[f"bleu_{order}"] = Score(float(value), float(error), len(candidates))
    if "rouge_l" in metrics:
        each["rouge_l"] = rouge_l(candidates, references)
    english = language.split("-")[0] == "en"
    if "meteor_light" in metrics or ("meteor" in metrics and jar is None):
        each["meteor_light"] = meteor_light(candidates, references, stems=english)
    elif "meteor" in metrics and english:
        whole, each["meteor"] = jar(candidates, references)
        table["meteor"] = mean_score(each["meteor"])._replace(value=whole)
    table = {name: table.get(name) or mean_score(values) for name, values in each.items()}
    return CaptionScores(table, each)


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises UserError for an unknown metric, and for both kinds of METEOR at once."""
    for metric in metrics:
        if metric not in METRICS:
            raise UserError(f"there is no caption metric {metric!r}; choose among {METRICS}")
    if {"meteor", "meteor_light"} <= set(metrics):
        raise UserError(
            "metrics has both meteor and meteor_light, whose numbers cannot stand beside each "
            "other; leave one of them out"
        )


def repetition(captions: Sequence[Words], pages: Sequence[Hashable], *, order: int = 4) -> Score:
    """Share of a page's n-grams that repeat an earlier one of the page, averaged over pages.

    N-grams do not cross the ends of captions; a page without any counts as 0.

    Args:
        captions: words of each caption.
        pages: what each caption is a part of, such as a video with a caption for each segment.
        order: words of an n-gram; 4 gives R@4.

    Source: the evaluation of MART (Lei et al., "MART: Memory-Augmented Recurrent Transformer").
    """
    *_, counts = ngram_counts(captions, order)
    rows = group_rows(pages)
    page_of = np.zeros(len(captions), np.int64)
    for number, members in enumerate(rows.values()):
        page_of[members] = number
    keys = page_of[counts.sentence] * counts.num_grams + counts.gram
    _, first = np.unique(keys, return_index=True)
    page = page_of[counts.sentence]
    total = np.bincount(page, counts.count, minlength=len(rows))
    different = np.bincount(page[first], minlength=len(rows))
    return mean_score((total - different) / np.maximum(total, 1))
