"""Zero-shot classes of a model that writes: the class whose text it finds most probable."""

import keras
import numpy as np
import tensorflow as tf

from trainers.data import pipeline
from trainers.evaluation.base import EvaluationContext, Evaluator
from trainers.evaluation.classes import labels
from trainers.evaluation.compiled import CompiledFunction
from trainers.evaluation.config import EvaluatorConfig
from trainers.evaluation.pictures import class_panels
from trainers.evaluation.places import class_sentences
from trainers.evaluation.places.embeddings import EmbeddedExamples, clip_thumbnails
from trainers.evaluation.places.zero_shot import score
from trainers.evaluation.writing import likelihoods
from trainers.evaluation.writing.asked_examples import decoder_inputs, require_prompts, usable_rows


class LabelScoringEvaluator(Evaluator):
    """Scores every class's texts with the decoder, given picture and prompt, and takes the best.

    A text's score is the sum of the log probabilities of its tokens, end included, not divided by
    their number. A class of several texts (templates, further words) has their probabilities added
    up. Scores are those of `zero_shot`.

    Source: PaLI, section 4.4 (zero-shot image classification).
    """

    def __init__(self, name: str, config: EvaluatorConfig):
        """Raises UserError when prompts, labels or classes are not configured."""
        super().__init__(name, config)
        self._tokenizer = require_prompts(name, config.input)
        labels.require_labels(config.input, name)
        sayings = class_sentences.templates(config, name)
        self._classes, self._class_of = labels.merge_same_names(labels.class_names(config))
        self._prompts = class_sentences.class_prompts(self._classes, config.class_words, sayings)
        self._score = CompiledFunction(likelihoods.score_texts)

    def chance(self) -> dict[str, float]:
        share = 1.0 / len(self._classes)
        return {"top1": share, "top5": min(1.0, 5 * share)}

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        with_pictures = context.summary_writer is not None and self.config.num_pictures > 0
        most_tokens = self.config.input.prompted.num_target_tokens
        texts = [text for row in self._prompts.rows for text in row]
        ids = tf.constant(likelihoods.text_ids(texts, self._tokenizer, most_tokens))
        scores, truth, thumbnails = [], [], []
        for batch in pipeline.build_eval_dataset(self.config.input):
            inputs = decoder_inputs(batch) | {likelihoods.LABELS: ids}
            real = usable_rows(batch)
            scores.append(self._of_classes(self._score(model, inputs, context).numpy()[real]))
            truth.append(batch["label"].numpy()[real])
            if with_pictures and "video" in batch:
                thumbnails.append(clip_thumbnails(batch["video"], real))
            if 0 < self.config.max_examples <= sum(map(len, truth)):
                break
        kept = slice(self.config.max_examples or None)
        log_probabilities = np.concatenate(scores)[kept]
        table = labels.renumber(np.concatenate(truth)[kept], self._class_of)
        if with_pictures:
            shown = np.concatenate(thumbnails)[kept] if thumbnails else None
            self._show(log_probabilities, table, shown, context)
        return score(log_probabilities, table)

    def _of_classes(self, scores: np.ndarray) -> np.ndarray:
        """float64[examples, classes] from float32[examples, texts]."""
        sayings = len(self._prompts.rows[0])
        text_class = np.repeat(self._prompts.class_of, sayings)
        columns = [
            likelihoods.log_sum_exp(scores[:, text_class == number], axis=1)
            for number in range(len(self._classes))
        ]
        return np.stack(columns, axis=1)

    def _show(self, scores, table, thumbnails, context: EvaluationContext) -> None:
        examples = EmbeddedExamples(
            outputs={},
            masks={},
            candidate_mask=None,
            labels=table,
            example_ids=np.arange(len(table)),
            thumbnails=thumbnails,
        )
        shown = class_panels.evaluation_panels(
            scores, examples, self._classes, self.config.num_pictures, "most probable"
        )
        self.write(shown, context)
