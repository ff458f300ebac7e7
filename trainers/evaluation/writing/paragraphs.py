"""The sentences of a page in order, as one text."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mm_models.metrics import captioning
from mm_models.metrics.meteor_jar import MeteorJar
from mm_models.metrics.scores import Score, average_of, group_rows
from trainers.evaluation.writing.page_scores import PageKey, page_keys
from trainers.evaluation.writing.written_texts import GeneratedText

SUFFIX = "_paragraph"


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """What was written of all clips of a page, beside what should have been.

    Attributes:
        key: of the page.
        clips: keys of its clips, in their order.
        sentences: one a clip.
        references: right sentences; each tuple has one of every clip, as one annotator wrote them.
    """

    key: PageKey
    clips: tuple[str, ...]
    sentences: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]

    @property
    def text(self) -> str:
        """The sentences as one text."""
        return " ".join(self.sentences)

    @property
    def reference_texts(self) -> list[str]:
        """Right texts."""
        return [" ".join(sentences) for sentences in self.references]


def paragraphs_of(examples: Sequence[GeneratedText]) -> list[Paragraph]:
    """The paragraph of each page, its clips ordered by their places.

    Where clips have several references, the first of all clips are one reference of the paragraph,
    the second ones another, as far as every clip has one.
    """
    found = []
    keys = page_keys(examples)
    for rows in group_rows(keys).values():
        clips = sorted((examples[row] for row in rows), key=lambda clip: clip.place)
        found.append(
            Paragraph(
                key=keys[rows[0]],
                clips=tuple(clip.key for clip in clips),
                sentences=tuple(clip.text.strip() for clip in clips),
                references=tuple(zip(*(clip.references for clip in clips), strict=False)),
            )
        )
    return found


def paragraph_scores(
    paragraphs: Sequence[Paragraph], metrics: Sequence[str], jar: MeteorJar | None
) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
    """Caption metrics of whole paragraphs, `<metric>_paragraph`.

    Like those of captions they are computed among the paragraphs of a language, and averaged over
    languages.

    Returns:
        The scores, and float64[paragraphs] by metric, NaN where a language has none.
    """
    each: dict[str, np.ndarray] = {}
    tables: dict[str, list[Score]] = {}
    for language, rows in group_rows([one.key.language for one in paragraphs]).items():
        found = captioning.caption_scores(
            [paragraphs[row].text for row in rows],
            [paragraphs[row].reference_texts for row in rows],
            metrics,
            language=str(language) or "en",
            jar=jar,
        )
        for metric, score in found.table.items():
            tables.setdefault(f"{metric}{SUFFIX}", []).append(score)
        for metric, values in found.per_example.items():
            name = f"{metric}{SUFFIX}"
            each.setdefault(name, np.full(len(paragraphs), np.nan))[rows] = values
    return {name: average_of(scores) for name, scores in tables.items()}, each
