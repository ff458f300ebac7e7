"""Where a model points for phrases, against the boxes of what they are about."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mm_models import checks
from mm_models.contracts import Grounds
from mm_models.errors import UserError
from trainers.data.config import InputConfig
from trainers.data.parts.phrases.catalog import DescribedRecord, PhraseCatalog
from trainers.data.parts.phrases.record_phrases import RecordPhrase
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ShownExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import batches
from trainers.evaluation.pictures import panels
from trainers.tasks.base import Task
from trainers.tasks.grounding.evaluators.absent_phrases import (
    AbsentPhrases,
    SoughtPhrase,
    new_pictures,
)
from trainers.tasks.grounding.evaluators.judged_phrases import GroundedPhrase, JudgedPhrase, judge
from trainers.tasks.grounding.evaluators.pointing_panels import phrase_picture, stacked
from trainers.tasks.grounding.evaluators.pointing_report import (
    GUESSES,
    SUBSETS,
    as_csv,
    as_markdown,
    category_table,
    pointing_scores,
    presence_scores,
)

_INPUTS = ("video", "phrase_layers", "phrase_word_mask")
NO_BOX, CATEGORY = "no_box", "category"


@dataclasses.dataclass
class PointingConfig(ShownExamplesConfig):
    """Fields of `pointing`; the phrases part of `input` has `each`, and a video beside it.

    Attributes:
        large_share: smallest share of the picture that the union box of a phrase takes which
            `pointing_large` counts.
        max_visible_share: of the frames, up to which a phrase is asked in which frame it is.
        shared_words: words, such as colours, that in a phrase of another object of the record too
            make a phrase one of `pointing_shared`.
        skipped_categories: of objects whose phrases are not evaluated.
    """

    large_share: float = 0.05
    max_visible_share: float = 0.4
    shared_words: list[str] = dataclasses.field(default_factory=list)
    skipped_categories: list[str] = dataclasses.field(default_factory=lambda: ["notvisual"])


class _Judgements(NamedTuple):
    """What became of the phrases: judged ones, how many were skipped by reason, scores with
    pictures that they are not about, phrases without any such picture, and pictures to show."""

    judged: list[JudgedPhrase]
    skipped: Counter[str]
    absent: np.ndarray
    unpaired: int
    pictures: list[np.ndarray]


class PointingEvaluator(Evaluator):
    """Grounds every different phrase of every record, once.

    A word's heat is that of the level of its highest score, a phrase's the mean of its words' by
    these scores, enlarged to the stored picture. In the frame in which its words have the highest
    mean score the phrase is judged: `pointing` (its highest pixel lies in a box),
    `attention_correctness` (heat inside the boxes), `iou_accuracy` (the union of up to three
    proposed boxes overlaps that of the phrase's by half). Phrases without a score, and those that
    the frame does not show, are wrong. `sentence_pointing` does the same with the map of the whole
    sentence. `pointing_large` is of phrases whose boxes are large enough, `pointing_shared` of
    those that words alone do not tell from another object's. Beside each of the three stands what
    guesses come to in a random frame: its centre, a random point, the centre of a random object.

    `level_<name>` says what share of the words chose which level; `temporal_hit`, of phrases in few
    frames, whether the highest score is in one of them; `presence_auc` how well the scores of
    phrases tell their own picture from the next one that no such phrase is about.

    `evaluated` and the phrases skipped for each reason add up to `phrases`. Categories, which are
    the labels of objects, go to `eval/<evaluator>-categories.csv` and TensorBoard.

    Source: Akbari et al. 2019, Multi-level Multimodal Common Semantic Space for Image-Phrase
    Grounding, section 4; its reference code counts large phrases alone.
    """

    config_class = PointingConfig
    config: PointingConfig
    model_ability = Grounds

    def __init__(self, name: str, config: PointingConfig, task: Task):
        """Raises UserError for an input without a video or single phrases, or wrong shares."""
        super().__init__(name, config, task)
        field = f"evaluators.{name}"
        for share in ("large_share", "max_visible_share"):
            checks.check_share(getattr(config, share), f"{field}.{share}")
        phrases = config.input.phrases
        if phrases is None or not phrases.each or config.input.video is None:
            raise UserError(
                f"{field}.input must read a video, and phrases with each: true, so that every "
                "phrase is evaluated once"
            )
        self._ground = CompiledFunction(ground)
        self._score = CompiledFunction(score_words)

    def metric_names(self) -> set[str]:
        pointing = {"pointing", *(f"{name}_pointing" for name in GUESSES)}
        temporal = {"evaluated_temporal", "temporal_hit", "random_frame_temporal_hit"}
        counts = {"phrases", f"skipped_{NO_BOX}", f"skipped_{CATEGORY}", "cropped"}
        own = {"sentence_pointing", "attention_correctness", "iou_accuracy", "level_*"}
        own |= {"presence_auc", "presence_unpaired"}
        subsets = {f"{one}{end}" for one in {"evaluated", *pointing} for end in SUBSETS}
        return subsets | temporal | counts | own

    def chance(self) -> dict[str, float]:
        """Of the others, what guesses come to is measured on the examples."""
        return {"presence_auc": 0.5}

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        """Raises UserError where no phrase has a box."""
        found = self._judge_all(model, context)
        config = self.config
        if not found.judged:
            raise UserError(
                f"evaluators.{self.name}.input has no phrase that can be evaluated: "
                f"{dict(found.skipped)} were skipped; choose another split"
            )
        table = category_table(found.judged, config.large_share, model.levels)
        self.write_file("-categories.csv", as_csv(table), context)
        if context.shows(config.num_pictures):
            shown: list[panels.Panel] = [panels.TextPanel("categories", as_markdown(table))]
            if found.pictures:
                shown.append(panels.ImagePanel("phrases", stacked(found.pictures)))
            self.write(shown, context)
        scores = pointing_scores(
            found.judged, config.large_share, config.max_visible_share, model.levels
        )
        counts = {f"skipped_{reason}": found.skipped[reason] for reason in (NO_BOX, CATEGORY)}
        counts["phrases"] = len(found.judged) + sum(counts.values())
        counts |= {"cropped": found.skipped["cropped"], "presence_unpaired": found.unpaired}
        return to_floats(scores | presence_scores(found.judged, found.absent) | counts)

    def _judge_all(self, model: keras.Model, context: EvaluationContext) -> _Judgements:
        inputs = self.config.input
        catalog = PhraseCatalog.open(inputs, f"evaluators.{self.name}.input")
        absent = AbsentPhrases(
            lambda words, regions: self._scored(model, words, regions, context), inputs.batch_size
        )
        most = self.config.num_pictures if context.shows(self.config.num_pictures) else 0
        found = _Judgements([], Counter(), np.zeros(0), 0, [])
        last: int | None = None
        for batch in self._batches():
            outputs = self._ground(model, {name: batch[name] for name in _INPUTS}, context)
            arrays = {name: value.numpy() for name, value in outputs.items()}
            rows = _Rows(batch, catalog)
            new = new_pictures(rows.records, rows.texts, arrays["regions"], last)
            pictures = dict(new)
            for row in rows.real:
                if row in pictures:
                    absent.look_in(pictures[row])
                last = int(rows.records[row])
                described, phrase = rows.described(row), rows.phrase(row)
                reason = self._reason_to_skip(described, phrase)
                if reason:
                    found.skipped[reason] += 1
                    continue
                span = rows.span[row]
                found.skipped["cropped"] += int(span.sum() < phrase.span[1])
                absent.add(SoughtPhrase(phrase.text, last, arrays["words"][row], span))
                grounded = grounded_phrase(arrays, row, span)
                size = _size(described, inputs)
                judged = judge(grounded, described, phrase, size, self.config.shared_words)
                found.judged.append(judged)
                if len(found.pictures) < most:
                    video = batch["video"][row].numpy()
                    found.pictures.append(
                        phrase_picture(video, grounded, judged, described, phrase, model.levels)
                    )
        scores, unpaired = absent.finish()
        return found._replace(absent=scores, unpaired=unpaired)

    def _batches(self) -> Iterator[Mapping[str, tf.Tensor]]:
        """Batches whose last one is cut to `max_examples`."""
        left = self.config.max_examples
        for batch in batches(self.config.input, left):
            mask = batch["example_mask"].numpy()
            if self.config.max_examples:
                mask = mask * (np.arange(len(mask)) < left)
                left -= int(mask.sum())
            yield {**batch, "example_mask": tf.constant(mask)}

    def _reason_to_skip(self, described: DescribedRecord, phrase: RecordPhrase) -> str:
        if set(phrase.categories) & set(self.config.skipped_categories):
            return CATEGORY
        return "" if described.boxes(phrase).any() else NO_BOX

    def _scored(
        self,
        model: keras.Model,
        words: np.ndarray,
        regions: np.ndarray,
        context: EvaluationContext,
    ) -> np.ndarray:
        inputs = {"words": tf.constant(words), "regions": tf.constant(regions)}
        return self._score(model, inputs, context).numpy()


class _Rows:
    """What is known of the rows of a batch.

    Attributes:
        records: int64[batch] ids; -1 for padding.
        real: rows that are no padding.
        span: float32[batch, words].
        texts: of the phrases of each row's record.
    """

    def __init__(self, batch: Mapping[str, tf.Tensor], catalog: PhraseCatalog):
        mask = batch["example_mask"].numpy() > 0
        self.records = np.where(mask, batch["example_id"].numpy(), -1)
        self.real = np.flatnonzero(mask).tolist()
        self.span = batch["phrase_span"].numpy()
        self._items = batch["example_item"].numpy()
        self._described = catalog.describe(self.records.tolist())
        self.texts = [
            frozenset(phrase.text for phrase in one.phrases) if one else frozenset()
            for one in self._described
        ]

    def described(self, row: int) -> DescribedRecord:
        """The record of a row that is no padding."""
        described = self._described[row]
        assert described is not None
        return described

    def phrase(self, row: int) -> RecordPhrase:
        """The phrase of such a row."""
        return self.described(row).phrases[int(self._items[row])]


def ground(model: Grounds, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Of each word, and of the sentence behind the last one, what the level of its highest score
    finds.

    Args:
        model: grounds.
        inputs: `video`, `phrase_layers` and `phrase_word_mask` of a batch.

    Returns:
        `heat: float32[batch, words + 1, frames, rows, columns]`, `scores: float32[batch, words + 1,
        frames]`, `levels: int32[batch, words + 1, frames]`, `words: float32[batch, words, dim]` and
        `regions` of the model.
    """
    regions = model.embed_images(inputs["video"])
    vectors = model.embed_words(inputs["phrase_layers"], inputs["phrase_word_mask"])
    both = tf.concat([vectors.words, vectors.sentence[:, tf.newaxis]], axis=1)
    found = model.ground(both, regions)
    levels = tf.argmax(found.scores, axis=-1, output_type=tf.int32)
    chosen = tf.one_hot(levels, found.scores.shape[-1])[:, :, :, tf.newaxis, tf.newaxis]
    return {
        "heat": tf.reduce_sum(found.heat * chosen, axis=-1),
        "scores": tf.reduce_max(found.scores, axis=-1),
        "levels": levels,
        "words": vectors.words,
        "regions": regions,
    }


def score_words(model: Grounds, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """float32[batch, words, frames]: scores of `words` with `regions`, of the best level."""
    return tf.reduce_max(model.ground(inputs["words"], inputs["regions"]).scores, axis=-1)


def grounded_phrase(arrays: Mapping[str, np.ndarray], row: int, span: np.ndarray) -> GroundedPhrase:
    """A row of what `ground` gives; `span: float32[words]` says which words are the phrase's."""
    own = np.flatnonzero(span > 0)
    heat, scores = arrays["heat"][row], arrays["scores"][row]
    return GroundedPhrase(heat[own], scores[own], arrays["levels"][row][own], heat[-1], scores[-1])


def _size(described: DescribedRecord, inputs: InputConfig) -> tuple[int, int]:
    """Pixels of the stored picture, or those that are read where the record does not say."""
    return (
        described.facts.size
        if all(described.facts.size)
        else (
            inputs.video.height,
            inputs.video.width,
        )
    )
