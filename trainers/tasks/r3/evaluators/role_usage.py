"""How the dictionaries of relations are used, and what their codes tell of the tokens."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mm_models import checks
from mm_models.decoding.config import DecodingConfig
from mm_models.errors import UserError
from mm_models.r3.config import R3Config
from mm_models.r3.model import R3Model
from mm_models.r3.relations import Grid, is_cross
from mm_models.text.piece_words import piece_words
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ShownExamplesConfig
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.model_inputs import batches, decoder_inputs
from trainers.evaluation.writing.asked_examples import AskedExampleReader, usable_rows
from trainers.evaluation.writing.word_groups import MEAN, WordGroups, score_name
from trainers.tasks.base import Task
from trainers.tasks.r3.evaluators.code_usage import (
    TOKEN,
    CodeCounter,
    CodeUsage,
    information_name,
    token_labels,
)
from trainers.tasks.r3.evaluators.usage_tables import usage_json, usage_panels, usage_scores
from trainers.tasks.r3.evaluators.written_roles import TARGETS, RoleWriter, shared_traces
from trainers.tasks.r3.role_page import role_page


@dataclasses.dataclass
class RoleUsageConfig(ShownExamplesConfig):
    """Fields of `role_usage`; the prompted part of `input`, of a single task, says which texts are
    read.

    Attributes:
        word_groups: words by group, such as `relation: [left, right]`, for information about which
            group a token is of, and within a group about which of its words it is.
        shuffles: how many times tokens and roles are parted, for the mean that information is
            compared with.
        decoding: how the texts of the pages are written.
    """

    word_groups: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    shuffles: int = 10
    decoding: DecodingConfig = dataclasses.field(default_factory=DecodingConfig)


class _Counted(NamedTuple):
    """Counters by the dictionary's name, and the ids and words of the tokens they counted."""

    counters: dict[str, CodeCounter]
    ids: list[np.ndarray]
    words: list[str]


class RoleUsageEvaluator(Evaluator):
    """Reads right texts, and counts which codes their tokens take in inference.

    Of each dictionary it reports the perplexity of its codes, the shares that are dead (never
    taken) and rare (less than a tenth of an even share), and, where tokens of texts take codes,
    `information`: how many bits the code of a head tells of its token. `information_word_groups` is
    about the group of words that the token is of, none included, and
    `information_word_groups_<group>` about which of a group's words it is. Few tokens seem to tell
    something of each other by chance: `shuffled_information` is what is left when tokens and roles
    are parted, each role's heads staying together. Without a dictionary in front, scores are means
    over dictionaries.

    All numbers, and the words that codes prefer, go to `eval/<evaluator>-roles.json`; tables and
    pictures to TensorBoard; what the model writes about the first examples, with its roles and what
    they look at, to `eval/<evaluator>-<number>.html`, a page for each video.
    """

    config_class = RoleUsageConfig
    config: RoleUsageConfig
    model_ability = R3Model

    def __init__(self, name: str, config: RoleUsageConfig, task: Task):
        """Raises UserError for an input without prompts, or word groups that cannot be found."""
        super().__init__(name, config, task)
        field = f"evaluators.{name}"
        checks.check_at_least(config.shuffles, 1, f"{field}.shuffles")
        config.decoding.check(f"{field}.decoding")
        self._groups = WordGroups(config.word_groups, f"{field}.word_groups").words
        self._reader = AskedExampleReader(name, config.input)
        self._writer = RoleWriter(self._reader, config.input, config.decoding)

    def metric_names(self) -> set[str]:
        asked = [TOKEN, *([MEAN] if self._groups else []), *map(score_name, self._groups)]
        informed = [information_name(what) for what in asked]
        own = ["perplexity", "dead_codes", "rare_codes", *informed]
        own += [f"shuffled_{name}" for name in informed]
        return {*own, *(f"*_block_*_{name}" for name in own)}

    def check_model(self, model: keras.Model) -> None:
        """Raises UserError for a model without codes."""
        super().check_model(model)
        if not model.dictionaries():
            raise UserError(
                f"evaluators.{self.name}.kind is role_usage, but the model has no roles with codes;"
                " give it some by task.model.variant: r3t6"
            )

    def evaluate(self, model: R3Model, context: EvaluationContext) -> dict[str, float]:
        """Raises UserError where no example has features and a text, or none a word of a group."""
        counted = self._count(model, context)
        usages = self._usages(counted, context.seed)
        self.write_file("-roles.json", usage_json(usages, context.step), context)
        if context.shows(self.config.num_pictures):
            self.write(usage_panels(usages, _grid(model.config)), context)
        if context.model_dir and self.config.num_pictures:
            self._write_pages(model, usages, context)
        return to_floats(usage_scores(usages))

    def _write_pages(
        self, model: R3Model, usages: Mapping[str, CodeUsage], context: EvaluationContext
    ) -> None:
        names = {name: usage.names for name, usage in usages.items()}
        videos = self._writer.videos(model, context, self.config.num_pictures)
        for number, (video, texts) in enumerate(videos.items()):
            title = f"{video}, step {context.step}"
            shown = [text for text in texts if text.relations]
            if shown:
                self.write_file(f"-{number + 1}.html", role_page(title, shown, names), context)

    def _count(self, model: R3Model, context: EvaluationContext) -> _Counted:
        """What the dictionaries are used for, of all examples."""
        counters = {
            name: CodeCounter(
                one.options.num_codes,
                of_text=name.startswith("decoder/"),
                with_maps=is_cross(name),
            )
            for name, one in model.dictionaries().items()
        }
        counted = _Counted(counters, [], [])
        for batch, rows in self._batches():
            inputs = decoder_inputs(batch) | {TARGETS: batch[TARGETS]}
            traces = shared_traces(context)(model, inputs, context)
            masks = {"decoder": batch[TARGETS], "encoder": batch["feature_token_mask"]}
            tokens = {side: rows[:, None] & (mask.numpy() > 0) for side, mask in masks.items()}
            for name, counter in counters.items():
                counter.add(traces[name].roles, tokens[name.split("/")[0]])
            for text in batch[TARGETS].numpy()[rows]:
                counted.ids.append(text[text > 0])
                counted.words.extend(piece_words(self._reader.tokenizer.pieces(text[text > 0])))
        return counted

    def _usages(self, counted: _Counted, seed: int) -> dict[str, CodeUsage]:
        if not counted.ids:
            raise UserError(
                f"evaluators.{self.name}.input has no example with features and the text that its "
                "task asks for; choose another split, task or language"
            )
        labels = token_labels(np.concatenate(counted.ids), counted.words, self._groups)
        self._check_groups(labels)
        shuffles = self.config.shuffles
        return {
            name: counter.usage(labels, counted.words, shuffles=shuffles, seed=seed)
            for name, counter in counted.counters.items()
        }

    def _check_groups(self, labels: Mapping[str, np.ndarray]) -> None:
        for name in self._groups:
            if (labels[score_name(name)] < 0).all():
                raise UserError(
                    f"evaluators.{self.name}.word_groups.{name} has no word that stands in the "
                    "texts read; name words of the captions"
                )

    def _batches(self) -> Iterator[tuple[Mapping[str, tf.Tensor], np.ndarray]]:
        """Batches that have examples, and bool[batch] which rows are one."""
        for batch in batches(self.config.input, self.config.max_examples):
            rows = usable_rows(batch) & (batch[TARGETS].numpy()[:, 0] > 0)
            if rows.any():
                yield batch, rows


def _grid(config: R3Config) -> Grid:
    return Grid(config.num_steps, max(config.rows, 1), max(config.columns, 1))
