"""A trained classifier on test examples."""

import dataclasses
import json
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from trainers.data import pipeline
from trainers.data.config import InputConfig
from trainers.evaluation.base import Evaluator
from trainers.evaluation.classes import labels
from trainers.evaluation.config import ShownExamplesConfig
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.model_inputs import only, source
from trainers.evaluation.pictures import class_panels, drawing, panels
from trainers.evaluation.places import zero_shot
from trainers.evaluation.places.embeddings import EmbeddedExamples, Embedder
from trainers.tasks.base import Task
from trainers.tasks.classifier import Classifier


@dataclasses.dataclass
class ClassificationConfig(ShownExamplesConfig):
    """Fields of `classification`.

    Attributes:
        objective: whose classifier is measured, of a task with several objectives.
    """

    objective: str = ""


class ClassificationEvaluator(Evaluator):
    """Top-1 and top-5 of clips with one label; of a task with many, mean average precision, AUC and
    d-prime too.

    Logits are averaged over the views of the input (windows times crops; VATT, appendix A.2.5).
    TensorBoard gets the confusion, clips or spectrograms with both classes, and a table by class,
    which is also written as JSON to `eval/<evaluator>-classes.json`.
    """

    config_class = ClassificationConfig
    config: ClassificationConfig

    def __init__(self, name: str, config: ClassificationConfig, task: Task):
        """Raises UserError when the task has no classes or the input lacks labels or modality."""
        super().__init__(name, config, task)
        self._classifier = _classifier(task, config.objective, name)
        labels.require_labels(config.input, name)
        self.num_classes = len(self._classifier.class_names)
        self._source = source(self._classifier.modality)
        if self._source not in config.input.parts:
            raise UserError(
                f"evaluators.{name}.input.{self._source} is null, but the task classifies "
                f"{self._classifier.modality}; describe that input"
            )
        _check_labels(name, config.input, self._classifier.class_names)
        self._input = only(config.input, [self._classifier.modality])
        self._embedder = Embedder(self._views, [self._classifier.modality])

    def inputs(self) -> dict[str, InputConfig]:
        """What the classifier looks at, and the labels."""
        return {f"evaluators.{self.name}.input": self._input}

    def metric_names(self) -> set[str]:
        names, several = self._classifier.class_names, self._classifier.is_multi_label
        return zero_shot.score_names(len(names), self.config.input, several)

    def chance(self) -> dict[str, float]:
        known = labels.chance(len(self._classifier.class_names))
        return known | ({"auc": 0.5, "d_prime": 0.0} if self._classifier.is_multi_label else {})

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        examples = self._embedder.examples(
            model,
            self._input,
            context,
            max_examples=self.config.max_examples,
            thumbnails=context.shows(self.config.num_pictures),
        )
        examples = examples.take(np.flatnonzero(examples.masks[self._source]))
        logits = examples.outputs["logits"][:, 0]
        highest = int(examples.labels.max(initial=-1))
        if highest >= logits.shape[1]:
            raise UserError(
                f"evaluators.{self.name}.input has an example of class {highest}, but the task "
                f"tells {logits.shape[1]} classes apart, counted from 0; raise task.num_classes"
            )
        self._report(logits, examples, context)
        return zero_shot.score(logits, examples.labels, self._classifier.is_multi_label)

    def _views(self, model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`logits: float32[batch, 1, classes]`."""
        return {"logits": self._classifier.logits(model, inputs)[:, tf.newaxis]}

    def _report(
        self, logits: np.ndarray, examples: EmbeddedExamples, context: EvaluationContext
    ) -> None:
        names = self._classifier.class_names
        table = class_panels.class_table(logits, examples.labels, names)
        text = json.dumps({"step": context.step, "classes": table}, indent=1) + "\n"
        self.write_file("-classes.json", text, context)
        count = self.config.num_pictures
        if context.shows(count):
            shown = class_panels.evaluation_panels(
                logits, examples.labels, examples.thumbnails, names, count, "predicted"
            )
            shown += [class_panels.class_table_panel(table), *self._sounds(logits, examples)]
            self.write(shown, context)

    def _sounds(self, logits: np.ndarray, examples: EmbeddedExamples) -> list[panels.Panel]:
        """Spectrograms of the first sounds with their classes."""
        if self._source != "audio":
            return []
        batch = next(iter(pipeline.build_eval_dataset(self._input)))
        rows = {int(number): row for row, number in enumerate(batch["example_id"].numpy())}
        said = class_panels.described(logits, examples.labels, self._classifier)
        parts: list[np.ndarray] = []
        for number, (title, lines) in zip(examples.example_ids.tolist(), said, strict=True):
            if number not in rows or len(parts) == self.config.num_pictures:
                break
            waveform = batch["audio"][rows[number]].numpy()
            first = waveform[0] if waveform.ndim == 2 else waveform
            rate = self._input.audio.sample_rate_hz
            parts.append(drawing.spectrogram_image(first, rate, lines=[title, *lines]))
        return [panels.ImagePanel("spectrograms", drawing.stack(parts))] if parts else []


def _classifier(task: Task, objective: str, evaluator: str) -> Classifier:
    """The task's classifier of that objective. Raises UserError where there is none."""
    known = task.classifiers()
    if objective in known:
        return known[objective]
    remedy = "use zero_shot or linear_probe"
    if known:
        remedy = f"choose evaluators.{evaluator}.objective from {sorted(known)}"
    raise UserError(
        f"evaluators.{evaluator}.kind is classification, but task {task.config.name!r} does not "
        f"classify by objective {objective!r}; {remedy}"
    )


def _check_labels(name: str, input_config: InputConfig, class_names: list[str]) -> None:
    """Raises UserError when a data set counts its labels in another order than the task."""
    for dataset, found in labels.dataset_labels(input_config).items():
        same_words = set(found) == set(class_names)
        if len(found) > len(class_names) or (same_words and found != class_names):
            raise UserError(
                f"evaluators.{name}.input.datasets.{dataset} lists other labels ({found[:3]}, ...) "
                f"than the task's classes ({class_names[:3]}, ...); preprocess both with one list "
                "of labels"
            )
