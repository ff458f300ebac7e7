"""What is said of a class, and its tokens by the tokenizer that the text input names."""

import dataclasses

import numpy as np
import tensorflow as tf

from mm_models.checks import check_choice, nearest
from mm_models.errors import UserError
from mm_models.metrics.retrieval import l2_normalize
from mm_models.text import label_prompts
from mm_models.text.tokenizers import build_tokenizer
from trainers.data.parts.text.config import TextInputConfig
from trainers.evaluation.config import ShownExamplesConfig


@dataclasses.dataclass
class ClassSentencesConfig(ShownExamplesConfig):
    """Of evaluators that put classes into words.

    Attributes:
        prompts: templates, `{}` being the class name.
        prompt_set: templates that come with the stack instead of `prompts`: `image`, `video` or
            `audio`.
        class_names: classes in index order; empty takes `labels` of the first data set. Classes of
            one name count as one.
        class_words: further words for a class, by its name.
    """

    prompts: list[str] = dataclasses.field(default_factory=lambda: ["{}"])
    prompt_set: str = ""
    class_names: list[str] = dataclasses.field(default_factory=list)
    class_words: dict[str, list[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ClassPrompts:
    """Sentences about classes: every word for a class in every template.

    Attributes:
        rows: the sentences of each row, one word in all templates.
        class_of: the class each row speaks of, counted from 0; rows may stand in any order.
        num_classes: different classes.
    """

    rows: list[list[str]]
    class_of: list[int]
    num_classes: int

    def means(self, embeddings: np.ndarray) -> np.ndarray:
        """A direction for each class: the mean over all of its sentences, then normalised.

        Args:
            embeddings: float[rows, templates, dim].

        Returns:
            float64[classes, dim], whatever the order of the rows.
        """
        sums = np.zeros((self.num_classes, embeddings.shape[-1]))
        counts = np.zeros((self.num_classes, 1))
        np.add.at(sums, self.class_of, np.asarray(embeddings, np.float64).sum(axis=1))
        np.add.at(counts, self.class_of, embeddings.shape[1])
        return l2_normalize(sums / counts)


def templates(config: ClassSentencesConfig, name: str) -> list[str]:
    """The configured templates, or those of the named set.

    Raises UserError for both, for an unknown set, or for a template without a place for the class.
    """
    field = f"evaluators.{name}"
    if config.prompt_set:
        if config.prompts not in ([], ["{}"]):
            raise UserError(f"{field} has both prompts and prompt_set; leave one of them out")
        known = sorted(label_prompts.EVALUATION_TEMPLATES)
        check_choice(config.prompt_set, known, f"{field}.prompt_set")
        return list(label_prompts.evaluation_prompts(config.prompt_set))
    if not config.prompts or any("{}" not in prompt for prompt in config.prompts):
        raise UserError(f"every one of {field}.prompts must contain {{}}")
    return list(config.prompts)


def class_prompts(names: list[str], config: ClassSentencesConfig, evaluator: str) -> ClassPrompts:
    """Sentences about classes of different names, in every template that `evaluator` has.

    Raises UserError for words of a class that there is not, or templates that cannot be used.
    """
    sayings, words = templates(config, evaluator), config.class_words
    unknown = sorted(set(words) - set(names))
    if unknown:
        raise UserError(
            f"evaluators.{evaluator}.class_words names {unknown[0]!r}, which is no class; "
            f"{nearest(unknown[0], names)}"
        )
    rows, class_of = [], []
    for number, name in enumerate(names):
        for word in [name, *words.get(name, [])]:
            rows.append([saying.replace("{}", word) for saying in sayings])
            class_of.append(number)
    return ClassPrompts(rows, class_of, len(names))


def prompt_ids(prompts: list[list[str]], text: TextInputConfig) -> np.ndarray:
    """int32[classes, prompts, num_tokens], cropped or padded with 0 on the right.

    Raises UserError when the vocabulary cannot be read.
    """
    tokenizer = build_tokenizer(text.tokenizer, text.vocabulary)
    return tokenizer.tokenize(tf.constant(prompts), text.num_tokens).numpy()
