"""Zero-shot classes of a model that writes: the class whose text it finds most probable."""

import keras
import numpy as np
import tensorflow as tf

from mm_models.contracts import Scores
from trainers.evaluation.base import Evaluator
from trainers.evaluation.classes import labels
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import batches, clip_thumbnails, decoder_inputs
from trainers.evaluation.pictures import class_panels
from trainers.evaluation.places import class_sentences
from trainers.evaluation.places.class_sentences import ClassSentencesConfig
from trainers.evaluation.places.zero_shot import score, score_names
from trainers.evaluation.writing import text_probabilities
from trainers.evaluation.writing.asked_examples import require_prompts, usable_rows
from trainers.tasks.base import Task


class LabelScoringEvaluator(Evaluator):
    """Scores every class's texts with the decoder, given picture and prompt, and takes the best.

    A text's score is the sum of the log probabilities of its tokens, end included, not divided by
    their number. A class of several texts (templates, further words) has their probabilities added
    up. Scores are those of `zero_shot`.

    Source: PaLI, section 4.4 (zero-shot image classification).
    """

    config_class = ClassSentencesConfig
    config: ClassSentencesConfig
    model_ability = Scores

    def __init__(self, name: str, config: ClassSentencesConfig, task: Task):
        """Raises UserError when prompts, labels or classes are not configured."""
        super().__init__(name, config, task)
        self._tokenizer = require_prompts(name, config.input)
        labels.require_labels(config.input, name)
        names = labels.class_names(config.class_names, config.input)
        self.num_classes = len(names)
        self._classes, self._class_of = labels.merge_same_names(names)
        self._prompts = class_sentences.class_prompts(self._classes, config, name)
        self._score = CompiledFunction(text_probabilities.score_texts)

    def metric_names(self) -> set[str]:
        return score_names(len(self._classes), self.config.input)

    def chance(self) -> dict[str, float]:
        return labels.chance(len(self._classes))

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        with_pictures = context.shows(self.config.num_pictures)
        most_tokens = self.config.input.prompted.num_target_tokens
        texts = [text for row in self._prompts.rows for text in row]
        ids = tf.constant(text_probabilities.text_ids(texts, self._tokenizer, most_tokens))
        scores, truth, thumbnails = [], [], []
        for batch in batches(self.config.input):
            inputs = decoder_inputs(batch) | {text_probabilities.LABELS: ids}
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
            pictures = np.concatenate(thumbnails)[kept] if thumbnails else None
            count = self.config.num_pictures
            shown = class_panels.evaluation_panels(
                log_probabilities, table, pictures, self._classes, count, "most probable"
            )
            self.write(shown, context)
        return score(log_probabilities, table)

    def _of_classes(self, scores: np.ndarray) -> np.ndarray:
        """float64[examples, classes] from float32[examples, texts]."""
        sayings = len(self._prompts.rows[0])
        text_class = np.repeat(self._prompts.class_of, sayings)
        columns = [
            text_probabilities.log_sum_exp(scores[:, text_class == number], axis=1)
            for number in range(len(self._classes))
        ]
        return np.stack(columns, axis=1)
