"""The training loss on held-out examples."""

import keras
import tensorflow as tf

from trainers.data import pipeline
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ExamplesConfig
from trainers.evaluation.context import EvaluationContext
from trainers.tasks.base import Task


class LossEvaluator(Evaluator):
    """Mean loss and metrics of the task over the examples, without augmentation or dropout.

    Contrastive losses take their negatives from the evaluation batch, so their size depends on
    `input.batch_size`.
    """

    config_class = ExamplesConfig
    config: ExamplesConfig

    def __init__(self, name: str, config: ExamplesConfig, task: Task):
        """Takes the task whose `encode` and `terms` are evaluated."""
        super().__init__(name, config, task)
        self._stream = next(iter(task.streams))
        self._model = None
        self._step = None

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        if self._model is not model:
            self._model = model
            self._step = tf.function(self._terms, jit_compile=context.jit_compile)
        sums, weights, num_examples = {}, {}, 0
        for batch in pipeline.build_eval_dataset(self.config.input):
            real = float(batch["example_mask"].numpy().sum())
            for name, value in self._step(batch).items():
                sums[name] = sums.get(name, 0.0) + real * float(value)
                weights[name] = weights.get(name, 0.0) + real
            num_examples += int(real)
            if 0 < self.config.max_examples <= num_examples:
                break
        return to_floats({name: sums[name] / weights[name] for name in sums})

    def _terms(self, batch) -> dict[str, tf.Tensor]:
        """Means of one batch; each counts by its number of real examples."""
        options = {"stream": self._stream, "training": False}
        seed = tf.zeros([2], tf.int32)
        outputs = self.task.encode(self._model, batch, seed=seed, **options)
        terms = self.task.terms(self._model, outputs, batch, gather=tf.identity, **options)
        named = {"loss": terms.loss, **terms.metrics}
        return {name: tf.math.divide_no_nan(t.sum, t.weight) for name, t in named.items()}
