"""Classification without training: the class whose prompt embedding lies nearest."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from mm_models.checks import check_choice
from mm_models.errors import UserError
from mm_models.metrics import classification
from trainers.data.config import InputConfig
from trainers.evaluation.base import to_floats
from trainers.evaluation.classes import labels
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.model_inputs import only, source
from trainers.evaluation.pictures import class_panels
from trainers.evaluation.places import class_sentences
from trainers.evaluation.places.class_sentences import ClassSentencesConfig
from trainers.evaluation.places.embeddings import EmbeddingConfig, EmbeddingEvaluator
from trainers.evaluation.places.retrieval import AVERAGES, mean_similarities
from trainers.tasks.base import Task

MODALITIES = ("video", "audio", "waveform")


@dataclasses.dataclass
class ZeroShotConfig(EmbeddingConfig, ClassSentencesConfig):
    """Fields of `zero_shot`; the text part of `input` gives the prompts' tokenizer and vocabulary.

    Attributes:
        modality: of the model, that is looked at: `video` (a still is a video input of one frame),
            `audio`, or `waveform` (raw samples, of models that take them apart from `audio`).
        average: over the windows of a clip, `embeddings` (averaged, then normalised) or
            `similarities` (averaged over the windows' own cosines).
    """

    modality: str = "video"
    average: str = "embeddings"


class ZeroShotEvaluator(EmbeddingEvaluator):
    """Zero-shot classes of clips, stills or sounds alone, by text prompts.

    A class's embedding is the mean of its prompts' embeddings, then normalised. A clip's windows
    are averaged as embeddings and then normalised (VATT, section 4.1 and appendix A.3.3), or as
    similarities (the released IMP code). Clips with exactly one label count for top-1 and top-5; if
    any clip has several, mean average precision, AUC and d-prime over all clips are added.
    """

    config_class = ZeroShotConfig
    config: ZeroShotConfig

    def __init__(self, name: str, config: ZeroShotConfig, task: Task):
        """Raises UserError when labels, text or the looked-at modality are not configured."""
        super().__init__(name, config, task)
        labels.require_labels(config.input, name)
        modality = config.modality
        if modality not in MODALITIES or source(modality) not in config.input.parts:
            raise UserError(
                f"evaluators.{name}.modality is {modality!r}; it must be one of {MODALITIES}, and "
                "the evaluator's input must have that part"
            )
        if config.input.text is None:
            raise UserError(
                f"evaluators.{name}.input.text is missing: the prompts need its tokenizer"
            )
        check_choice(config.average, AVERAGES, f"evaluators.{name}.average")
        self._input = only(config.input, [modality])
        names = labels.class_names(config.class_names, config.input)
        self.num_classes = len(names)
        self._classes, self._class_of = labels.merge_same_names(names)
        self._prompts = class_sentences.class_prompts(self._classes, config, name)
        self._tokens = class_sentences.prompt_ids(self._prompts.rows, config.input.text)

    def inputs(self) -> dict[str, InputConfig]:
        """Of the text only the tokenizer is used, for the prompts."""
        return {f"evaluators.{self.name}.input": self._input}

    def metric_names(self) -> set[str]:
        return score_names(len(self._classes), self.config.input)

    def chance(self) -> dict[str, float]:
        return labels.chance(len(self._classes))

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        class_embeddings, count = self.class_embeddings(model, context), self.config.num_pictures
        examples = self.embedder.examples(
            model,
            self._input,
            context,
            max_examples=self.config.max_examples,
            thumbnails=context.shows(count),
        )
        modality = self.config.modality
        examples = examples.take(np.flatnonzero(examples.masks[source(modality)]))
        truth = labels.renumber(examples.labels, self._class_of)
        clips = examples.outputs[model.spaces(modality, "text")[0]]
        similarities = mean_similarities(clips, class_embeddings[:, None], self.config.average)
        if context.shows(count):
            shown = class_panels.evaluation_panels(
                similarities, truth, examples.thumbnails, self._classes, count, "nearest prompt"
            )
            self.write(shown, context)
        return score(similarities, truth)

    def class_embeddings(self, model: keras.Model, context: EvaluationContext) -> np.ndarray:
        """float64[classes, dim], each of length 1."""
        outputs = self.embedder.forward(model, {"text": tf.constant(self._tokens)}, context)
        return self._prompts.means(outputs[model.spaces(self.config.modality, "text")[1]].numpy())


def score_names(num_classes: int, input_config: InputConfig, multi_label: bool = False) -> set[str]:
    """What `score` may give for examples of an input with labels."""
    several = multi_label or input_config.labels.num_labels > 1
    tops = {f"top{k}" for k in (1, 5) if k < num_classes}
    return {"num_examples"} | tops | ({"map", "auc", "d_prime"} if several else set())


def score(
    similarities: np.ndarray, label_table: np.ndarray, multi_label: bool = False
) -> dict[str, float]:
    """Scores of `similarities: float[examples, classes]` against padded labels.

    Args:
        similarities: float[examples, classes].
        label_table: int32[examples, labels] padded with -1.
        multi_label: add the scores of several labels also where no example has more than one.
    """
    rows, truth = labels.single_labels(label_table)
    scores = {"num_examples": float(len(rows))}
    for k in (1, 5):
        if k < similarities.shape[1]:
            scores[f"top{k}"] = classification.top_k_accuracy(similarities[rows], truth, k)
    if multi_label or (label_table >= 0).sum(axis=1).max(initial=0) > 1:
        truth_table = labels.positives(label_table, similarities.shape[1])
        scores |= classification.multi_label_scores(similarities, truth_table)
    return to_floats(scores)
