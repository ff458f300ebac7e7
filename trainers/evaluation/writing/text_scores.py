"""Scores of written texts: over all, by language and by kind of question, beside baselines."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mm_models.errors import UserError
from mm_models.metrics import captioning, question_answering
from mm_models.metrics.caption_tokens import caption_tokens
from mm_models.metrics.language_words import LanguageWords
from mm_models.metrics.meteor_jar import MeteorJar
from mm_models.metrics.scores import (
    Score,
    average_of,
    group_rows,
    mean_by_group,
    mean_score,
)
from trainers.evaluation.writing import text_baselines
from trainers.evaluation.writing.page_scores import page_keys, page_scores, repetition
from trainers.evaluation.writing.paragraphs import (
    SUFFIX,
    Paragraph,
    paragraph_scores,
    paragraphs_of,
)
from trainers.evaluation.writing.word_groups import WordGroups
from trainers.evaluation.writing.written_texts import GeneratedText

METRICS = (*captioning.METRICS, *question_answering.METRICS)
MODEL = "model"


@dataclasses.dataclass(frozen=True)
class TextScores:
    """All scores of an evaluation.

    Attributes:
        groups: by group ("" for all, `language_de`, `kind_colour`), by who wrote the texts
            (`model`, `constant`, `corrupted`, `usual`), by metric.
        per_example: float64[examples] of the model's texts by metric.
        paragraphs: the captions of each page in order, where a page has several.
        per_paragraph: float64[paragraphs] by metric.
    """

    groups: dict[str, dict[str, dict[str, Score]]]
    per_example: dict[str, np.ndarray]
    paragraphs: list[Paragraph] = dataclasses.field(default_factory=list)
    per_paragraph: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def flat(self) -> dict[str, float]:
        """Numbers by name: `cider`, `cider_constant`, `language_de/cider`, ..., and how many
        examples of each group."""
        named: dict[str, float] = {}
        for group, writers in self.groups.items():
            prefix = f"{group}/" if group else ""
            named[f"{prefix}num_examples"] = max(
                (score.count for score in writers[MODEL].values()), default=0
            )
            for writer, table in writers.items():
                suffix = "" if writer == MODEL else f"_{writer}"
                named |= {f"{prefix}{metric}{suffix}": table[metric].value for metric in table}
        return named


class TextScorer:
    """Scores texts by the metrics of one evaluator."""

    def __init__(
        self,
        metrics: Sequence[str],
        *,
        swap_words: Mapping[str, Sequence[str]] | None = None,
        word_groups: WordGroups | None = None,
        jar: MeteorJar | None = None,
        seed: int = 0,
        field: str = "metrics",
    ):
        """Takes names in `METRICS`, METEOR's jar, what `corrupted_captions` takes, and words that
        are to be those of the reference.

        Raises UserError for an unknown metric, or two kinds of METEOR.
        """
        unknown = [metric for metric in metrics if metric not in METRICS]
        if unknown or not metrics:
            raise UserError(f"{field} is {list(metrics)}; name one or more of {', '.join(METRICS)}")
        self._captioning = [metric for metric in metrics if metric in captioning.METRICS]
        self._answering = [metric for metric in metrics if metric in question_answering.METRICS]
        captioning.check_metrics(self._captioning)
        self._swap_words, self._jar, self._seed = swap_words or {}, jar, seed
        self._word_groups = word_groups or WordGroups({})

    def names(self) -> set[str]:
        """Every name that `TextScores.flat` may have, `*` being a language or a kind."""
        several = {"bleu": {f"bleu_{order}" for order in (1, 2, 3, 4)}}
        if self._jar is None:
            several["meteor"] = {"meteor_light"}
        captions = set().union(*(several.get(one, {one}) for one in self._captioning))
        words = captions | ({"swap_words_right"} if self._swap_words else set())
        answers = {*self._answering, *self._word_groups.names()}
        found = {"num_examples", *answers, *words}
        found |= {f"{metric}_usual" for metric in answers}
        found |= {f"{metric}_{writer}" for metric in words for writer in ("constant", "corrupted")}
        if self._captioning:
            found |= {"language_share", "language_tied"}
        groups = {f"{group}/{name}" for group in ("language_*", "kind_*") for name in found}
        pages = {f"{metric}{suffix}" for metric in captions for suffix in ("_by_page", SUFFIX)}
        return found | groups | (pages | {"repetition_4"} if self._captioning else set())

    def __call__(self, examples: Sequence[GeneratedText]) -> TextScores:
        """Scores of one or more examples."""
        groups: dict[str, dict[str, dict[str, Score]]] = {"": {MODEL: {}}}
        each: dict[str, np.ndarray] = {}
        if self._captioning:
            each |= self._score_captions(examples, groups)
        if self._answering:
            each |= self._score_answers(examples, groups)
        each |= _score_by_kind(self._word_groups.right(examples), MODEL, examples, groups)
        _score_by_kind(self._word_groups.usual(examples), "usual", examples, groups)
        if self._captioning:
            groups[""][MODEL]["repetition_4"] = repetition(examples)
        if not self._captioning or len(set(page_keys(examples))) == len(examples):
            return TextScores(groups, each)
        groups[""][MODEL] |= page_scores(each, examples, self._captioning)
        paragraphs = paragraphs_of(examples)
        table, per_paragraph = paragraph_scores(paragraphs, self._captioning, self._jar)
        groups[""][MODEL] |= table
        return TextScores(groups, each, paragraphs, per_paragraph)

    def _score_captions(self, examples, groups) -> dict[str, np.ndarray]:
        """Fills in the groups of languages and, with the mean over languages, that of all."""
        languages = group_rows([example.language for example in examples])
        corrupted = text_baselines.corrupted_captions(examples, self._swap_words, self._seed)
        each: dict[str, np.ndarray] = {}
        tables: dict[str, list[dict[str, Score]]] = {}
        for language, rows in languages.items():
            found = self._one_language(examples, corrupted, rows, language)
            for writer, scores in found.items():
                tables.setdefault(writer, []).append(scores.table)
            for metric, values in found[MODEL].per_example.items():
                each.setdefault(metric, np.full(len(examples), np.nan))[rows] = values
            if len(languages) > 1:
                groups[f"language_{language or 'unknown'}"] = {
                    writer: dict(scores.table) for writer, scores in found.items()
                }
        for writer, of_languages in tables.items():
            groups[""].setdefault(writer, {}).update(_mean_tables(of_languages))
        if len(languages) > 1:
            each["language"] = _asked_language(examples, groups)
        return each

    def _one_language(self, examples, corrupted, rows, language):
        """`CaptionScores` by writer."""
        references = [[caption_tokens(text) for text in examples[row].references] for row in rows]
        constant = text_baselines.constant_caption(references, self._captioning[0])
        written: dict[str, Sequence[Sequence[str]]] = {
            MODEL: [caption_tokens(examples[row].text) for row in rows],
            "constant": [constant] * len(rows),
            "corrupted": [caption_tokens(corrupted[row]) for row in rows],
        }
        found = {
            writer: captioning.word_scores(
                words, references, self._captioning, language=language or "en", jar=self._jar
            )
            for writer, words in written.items()
        }
        swap = {word.lower() for word in self._swap_words.get(language, ())}
        if swap:
            for writer, words in written.items():
                right = _same_words(words, references, swap)
                found[writer].table["swap_words_right"] = mean_score(right)
                found[writer].per_example["swap_words_right"] = right
        return found

    def _score_answers(self, examples, groups) -> dict[str, np.ndarray]:
        """Fills in the groups of kinds and languages, and that of all."""
        references = [example.references for example in examples]
        written = {
            MODEL: [example.text for example in examples],
            "usual": text_baselines.usual_answers(examples),
        }
        each: dict[str, np.ndarray] = {}
        for writer, texts in written.items():
            found = {
                metric: question_answering.answer_scores(texts, references, metric)
                for metric in self._answering
            }
            _score_by_kind(found, writer, examples, groups)
            each = each or found
        return each


def _score_by_kind(found, writer, examples, groups) -> dict[str, np.ndarray]:
    """Fills in the means of `found: float64[examples]` by metric over kinds, languages and all."""
    kinds = [f"kind_{example.kind or 'unknown'}" for example in examples]
    languages = [f"language_{example.language or 'unknown'}" for example in examples]
    for metric, values in found.items():
        groups[""].setdefault(writer, {})[metric] = mean_score(values)
        for names in (kinds, languages):
            parts = mean_by_group(values, names) if len(set(names)) > 1 else {}
            for group, score in parts.items():
                groups.setdefault(group, {}).setdefault(writer, {})[metric] = score
    return found


def _mean_tables(tables: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """The mean over languages of each metric, over those languages that have it."""
    metrics = dict.fromkeys(metric for table in tables for metric in table)
    return {
        metric: average_of([table[metric] for table in tables if metric in table])
        for metric in metrics
    }


def _same_words(candidates, references, words: set[str]) -> np.ndarray:
    """float64[examples]: whether a caption holds just those of `words` that a reference holds."""

    def held(caption):
        return sorted(word for word in caption if word in words)

    return np.array(
        [
            held(candidate) in [held(reference) for reference in own]
            for candidate, own in zip(candidates, references, strict=True)
        ],
        float,
    )


def _asked_language(examples, groups) -> np.ndarray:
    """float64[examples]: whether each text is in the language asked for, by its words.

    Fills `language_share` and `language_tied` (the share of texts that fit another language as
    well, such as `six`) into the groups. A tie counts as right.
    """
    references: dict[str, list[str]] = {}
    for example in examples:
        references.setdefault(example.language, []).extend(example.references)
    known = LanguageWords(references)
    nearest = [known.nearest(example.text) for example in examples]
    asked = [example.language for example in examples]
    right = np.array([own in found for own, found in zip(asked, nearest, strict=True)], float)
    tied = right * np.array([len(found) > 1 for found in nearest], float)
    for name, values in (("language_share", right), ("language_tied", tied)):
        groups[""][MODEL][name] = mean_score(values)
        for language, score in mean_by_group(values, asked).items():
            groups[f"language_{language or 'unknown'}"][MODEL][name] = score
    return right
