"""Texts that a model writes when asked, scored against references."""

import dataclasses
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_models.contracts import Writes
from mm_models.decoding.options import DecodingConfig, decode
from mm_models.decoding.state import Decoded, best
from mm_models.errors import UserError
from mm_models.metrics.meteor_jar import find_meteor
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ShownExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.writing import text_pages
from trainers.evaluation.writing.asked_examples import AskedExampleReader
from trainers.evaluation.writing.text_scores import TextScorer, TextScores
from trainers.evaluation.writing.word_groups import WordGroups
from trainers.evaluation.writing.written_texts import GeneratedText
from trainers.tasks.base import Task

SEED = "seed"


@dataclasses.dataclass
class GenerationConfig(ShownExamplesConfig):
    """Fields of `generation`; the prompted part of `input`, of a single task, is what is asked.

    Attributes:
        metrics: the first of them ranks the examples shown: `cider`, `bleu`, `rouge_l`, `meteor`
            (METEOR 1.5 where Java and the jar are there, in English; else `meteor_light`),
            `meteor_light`, `vqa_accuracy`, `simple_vqa_accuracy`, `exact_match`, `anls`.
        decoding: how the model writes. Evaluators of one way share what is compiled.
        swap_words: captions that are right but for one word, a baseline: the words of which one is
            replaced with another, by language, such as the names of digits; a language that is left
            out has any word replaced.
        word_groups: words by group, such as `relation: [left, right]`, that a text is to have as a
            reference has them, in the same order; `word_groups_<group>` is the share of the texts
            that do, `word_groups` the mean over groups.
        meteor_jar: path of METEOR 1.5; empty takes that of the package pycocoevalcap where it is
            installed.
    """

    metrics: list[str] = dataclasses.field(default_factory=lambda: ["cider", "bleu", "rouge_l"])
    decoding: DecodingConfig = dataclasses.field(default_factory=DecodingConfig)
    swap_words: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    word_groups: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    meteor_jar: str = ""


class GenerationEvaluator(Evaluator):
    """Captions, answers or other texts, decoded for the prompts of the evaluator's input.

    Caption metrics are computed language by language, among the references of that language, and
    then averaged over languages; answer metrics over all questions, and by kind and language.
    Beside the model's scores stand those of one caption for all (`constant`), of right captions
    with a wrong word (`corrupted`) and of each kind's most frequent answer (`usual`). With captions
    in several languages, `language_share` is the share in the language asked for, judged by the
    words of the references of each; with `swap_words`, `swap_words_right` is the share of captions
    that hold just those of the words that a reference holds; with `word_groups`, the chosen words
    and their order are compared, beside what is right most often (`usual`). `repetition_4` is how
    much captions repeat themselves. Where a group of clips,
    or a media file, has several captions in a language, they are scored as a page too
    (`cider_by_page`) and, in their order, as one text (`cider_paragraph`).

    Every example's texts and scores go to `eval/<evaluator>-texts.jsonl`, the table with standard
    errors to `eval/<evaluator>-scores.json`, paragraphs to `eval/<evaluator>-paragraphs.jsonl`, the
    table with pictures of the worst and the best examples to `eval/<evaluator>.html` and to
    TensorBoard.
    """

    config_class = GenerationConfig
    config: GenerationConfig
    model_ability = Writes

    def __init__(self, name: str, config: GenerationConfig, task: Task):
        """Raises UserError for an input without prompts, a metric that there is not, or METEOR that
        cannot run."""
        super().__init__(name, config, task)
        config.decoding.check(f"evaluators.{name}.decoding")
        self._reader = AskedExampleReader(name, config.input)
        self._word_groups = WordGroups(config.word_groups, f"evaluators.{name}.word_groups")
        self._jar = find_meteor(config.meteor_jar) if "meteor" in config.metrics else None
        if config.meteor_jar and "meteor" not in config.metrics:
            raise UserError(
                f"evaluators.{name}.meteor_jar is given, but its metrics have no meteor; add it "
                "or leave the jar out"
            )
        self._scorer(seed=0)

    def metric_names(self) -> set[str]:
        return self._scorer(seed=0).names()

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        """Raises UserError where no example has what the prompts need."""
        examples = list(self._generate(model, context))
        if not examples:
            raise UserError(
                f"evaluators.{self.name}.input has no example with the text that its task asks "
                "for; choose another split, task or language"
            )
        scores = self._scorer(context.seed)(examples)
        self._report(examples, scores, context)
        return to_floats(scores.flat())

    def _scorer(self, seed: int) -> TextScorer:
        return TextScorer(
            self.config.metrics,
            swap_words=self.config.swap_words,
            word_groups=self._word_groups,
            jar=self._jar,
            seed=seed,
            field=f"evaluators.{self.name}.metrics",
        )

    def _generate(self, model: keras.Model, context: EvaluationContext) -> Iterator[GeneratedText]:
        decoder = shared_decoder(self.config.decoding, context)
        written = context.summary_writer is not None or context.model_dir
        with_pictures = written and self.config.num_pictures > 0
        batches = self._reader.batches(self.config.max_examples)
        for number, batch in enumerate(batches):
            inputs = batch.inputs | {SEED: tf.constant([context.seed, number], tf.int32)}
            decoded: Decoded = decoder(model, inputs, context)
            texts = self._reader.texts(decoded.ids)
            pictures = batch.pictures() if with_pictures else [None] * len(batch.rows)
            for row, asked, picture in zip(batch.rows, batch.asked, pictures, strict=True):
                yield GeneratedText(
                    key=asked.key,
                    page=asked.group or asked.media,
                    place=asked.place,
                    prompt=asked.prompt,
                    text=texts[row],
                    references=asked.references,
                    language=asked.language,
                    kind=asked.kind or ("" if asked.variant == asked.task else asked.variant),
                    log_probability=float(decoded.scores[row]),
                    picture=picture,
                )

    def _report(
        self, examples: list[GeneratedText], scores: TextScores, context: EvaluationContext
    ) -> None:
        count = self.config.num_pictures
        lines = text_pages.json_lines(examples, scores.per_example, context.step)
        self.write_file("-texts.jsonl", lines, context)
        if scores.paragraphs:
            paragraphs = text_pages.paragraph_lines(scores, context.step)
            self.write_file("-paragraphs.jsonl", paragraphs, context)
        self.write_file("-scores.json", text_pages.table_json(scores, context.step), context)
        if count and context.model_dir:
            title = f"{self.name}, step {context.step}"
            page = text_pages.html_page(title, examples, scores, count)
            self.write_file(".html", page, context)
        if context.shows(count):
            self.write(text_pages.example_panels(examples, scores, count), context)


def shared_decoder(config: DecodingConfig, context: EvaluationContext) -> CompiledFunction:
    """Decoding as the config says: inputs by name and `seed: int32[2]` to the best `Decoded`; one
    for all evaluators that decode alike."""

    def run(model: Writes, tensors: Mapping[str, tf.Tensor]) -> Decoded:
        inputs = dict(tensors)
        seed = inputs.pop(SEED)
        batch_size = next(iter(inputs.values())).shape[0]
        state = model.start_decoding(inputs, config.max_length, config.beams)
        starts = tf.fill([batch_size], np.int32(model.start_id))
        return best(decode(config, model.decode_step, state, starts, model.end_id, seed))

    return context.shared.setdefault(f"decode {config}", CompiledFunction(run))
