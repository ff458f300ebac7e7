"""Classification without training: the class whose prompt embedding lies nearest."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.metrics import classification, retrieval
from trainers.evaluation import class_panels, labels
from trainers.evaluation.base import EvaluationContext, Evaluator, to_floats
from trainers.evaluation.config import EvaluatorConfig
from trainers.evaluation.embeddings import Embedder
from trainers.evaluation.prompts import PromptTokenizer

SPACES = {"video": "video_vt", "audio": "audio_vt"}


class ZeroShotEvaluator(Evaluator):
    """Zero-shot classes from one tower alone, by text prompts.

    A class's embedding is the mean of its prompts' embeddings, then normalised; a clip's is the
    mean over its windows, then normalised (VATT, section 4.1 and appendix A.3.3). Clips with
    exactly one label count for top-1 and top-5; if any clip has several, mean average precision,
    AUC and d-prime over all clips are added.
    """

    def __init__(self, name: str, config: EvaluatorConfig):
        """Raises UserError when labels, text or the looked-at modality are not configured."""
        super().__init__(name, config)
        labels.require_labels(config.input, name)
        if config.modality not in SPACES or getattr(config.input, config.modality) is None:
            raise UserError(
                f"evaluators.{name}.modality is {config.modality!r}; it must be video or audio, "
                "and the evaluator's input must have that part"
            )
        if config.input.text is None:
            raise UserError(
                f"evaluators.{name}.input.text is missing: the prompts need its tokenizer"
            )
        if not config.prompts or any("{}" not in prompt for prompt in config.prompts):
            raise UserError(f"every one of evaluators.{name}.prompts must contain {{}}")
        others = dict.fromkeys(("video", "audio", "text"))
        others.pop(config.modality)
        self._input = dataclasses.replace(config.input, **others)
        self._classes = labels.class_names(config)
        self._tokenizer = PromptTokenizer(config.input.text)
        self._embedder = Embedder()

    def chance(self) -> dict[str, float]:
        share = 1.0 / len(self._classes)
        return {"top1": share, "top5": min(1.0, 5 * share)}

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        class_embeddings = self.class_embeddings(model, context)
        examples = self._embedder.examples(
            model,
            self._input,
            context,
            max_examples=self.config.max_examples,
            thumbnails=context.summary_writer is not None and self.config.num_pictures > 0,
        )
        examples = examples.take(np.flatnonzero(examples.masks[self.config.modality]))
        clip_embeddings = examples.outputs[SPACES[self.config.modality]].mean(axis=1)
        similarities = retrieval.cosine_similarities(clip_embeddings, class_embeddings)
        if context.summary_writer is not None and self.config.num_pictures > 0:
            shown = class_panels.evaluation_panels(
                similarities, examples, self._classes, self.config.num_pictures, "nearest prompt"
            )
            self.write(shown, context)
        return score(similarities, examples.labels)

    def class_embeddings(self, model: keras.Model, context: EvaluationContext) -> np.ndarray:
        """float64[classes, dim], each of length 1."""
        prompts = [[p.replace("{}", name) for p in self.config.prompts] for name in self._classes]
        tokens = tf.constant(self._tokenizer(prompts))
        outputs = self._embedder.forward(model, {"text": tokens}, context)
        return retrieval.l2_normalize(outputs["text_vt"].numpy().mean(axis=1))


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
    scores = {"num_examples": len(rows)}
    for k in (1, 5):
        if k < similarities.shape[1]:
            scores[f"top{k}"] = classification.top_k_accuracy(similarities[rows], truth, k)
    if multi_label or (label_table >= 0).sum(axis=1).max(initial=0) > 1:
        truth_table = labels.positives(label_table, similarities.shape[1])
        scores |= classification.multi_label_scores(similarities, truth_table)
    return to_floats(scores)
