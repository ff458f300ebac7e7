"""Where a model points for phrases, against the boxes of what they are about."""

import dataclasses
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_models import checks
from mm_models.contracts import Grounds
from mm_models.errors import UserError
from mm_models.grounding.phrase_map import word_maps
from trainers.data.parts.phrases.catalog import PhraseCatalog
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ShownExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import batches
from trainers.evaluation.pictures import panels
from trainers.tasks.base import Task
from trainers.tasks.grounding.evaluators.absent_phrases import AbsentPhrases
from trainers.tasks.grounding.evaluators.phrase_judging import (
    CATEGORY,
    NO_BOX,
    PhraseJudging,
    PhraseRules,
)
from trainers.tasks.grounding.evaluators.pointing_panels import stacked
from trainers.tasks.grounding.evaluators.pointing_report import (
    GUESSES,
    SUBSETS,
    Table,
    as_csv,
    as_markdown,
    category_table,
    pointing_scores,
    presence_scores,
)

_INPUTS = ("video", "phrase_layers", "phrase_word_mask")


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
        judging, config = self._judge_all(model, context), self.config
        if not judging.judged:
            raise UserError(
                f"evaluators.{self.name}.input has no phrase that can be evaluated: "
                f"{dict(judging.skipped)} were skipped; choose another split"
            )
        table = category_table(judging.judged, config.large_share, model.levels)
        self.write_file("-categories.csv", as_csv(table), context)
        if context.shows(config.num_pictures):
            self.write(_panels(table, judging), context)
        scores = pointing_scores(
            judging.judged, config.large_share, config.max_visible_share, model.levels
        )
        absent, unpaired = judging.absent.finish()
        counts = {f"skipped_{reason}": judging.skipped[reason] for reason in (NO_BOX, CATEGORY)}
        counts["phrases"] = len(judging.judged) + sum(counts.values())
        counts |= {"cropped": judging.cropped, "presence_unpaired": unpaired}
        return to_floats(scores | presence_scores(judging.judged, absent) | counts)

    def _judge_all(self, model: keras.Model, context: EvaluationContext) -> PhraseJudging:
        """Every phrase, as the model grounds it."""
        config = self.config
        run = context.shared.setdefault("ground", CompiledFunction(ground))
        score = context.shared.setdefault("score words", CompiledFunction(score_words))
        judging = PhraseJudging(
            PhraseCatalog.open(config.input, f"evaluators.{self.name}.input"),
            AbsentPhrases(
                lambda words, regions: score(
                    model, {"words": tf.constant(words), "regions": tf.constant(regions)}, context
                ).numpy(),
                config.input.batch_size,
            ),
            PhraseRules(config.skipped_categories, config.shared_words),
            model.levels,
            num_pictures=config.num_pictures if context.shows(config.num_pictures) else 0,
        )
        for batch in self._batches():
            found = run(model, {name: batch[name] for name in _INPUTS}, context)
            judging.add(batch, {name: value.numpy() for name, value in found.items()})
        return judging

    def _batches(self) -> Iterator[Mapping[str, tf.Tensor]]:
        """Batches whose last one is cut to `max_examples`."""
        left = self.config.max_examples
        for batch in batches(self.config.input, left):
            mask = batch["example_mask"].numpy()
            if self.config.max_examples:
                mask = mask * (np.arange(len(mask)) < left)
                left -= int(mask.sum())
            yield {**batch, "example_mask": tf.constant(mask)}


def _panels(table: Table, judging: PhraseJudging) -> list[panels.Panel]:
    shown: list[panels.Panel] = [panels.TextPanel("categories", as_markdown(table))]
    if judging.pictures:
        shown.append(panels.ImagePanel("phrases", stacked(judging.pictures)))
    return shown


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
    found = word_maps(model.ground(both, regions))
    return {**found._asdict(), "words": vectors.words, "regions": regions}


def score_words(model: Grounds, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """float32[batch, words, frames]: scores of `words` with `regions`, of the best level."""
    return tf.reduce_max(model.ground(inputs["words"], inputs["regions"]).scores, axis=-1)
