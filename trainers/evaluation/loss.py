"""The training loss on held-out examples."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import batches
from trainers.tasks.base import Task


class LossEvaluator(Evaluator):
    """Mean loss and metrics of the task over the examples, without augmentation or dropout.

    Contrastive losses take their negatives from the evaluation batch, so their size depends on
    `input.batch_size`.
    """

    config_class = ExamplesConfig
    config: ExamplesConfig

    def __init__(self, name: str, config: ExamplesConfig, task: Task):
        super().__init__(name, config, task)
        self._stream = next(iter(task.streams))
        self._step = CompiledFunction(self._terms)

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        for batch in batches(self.config.input, self.config.max_examples):
            real = float(batch["example_mask"].numpy().sum())
            for name, value in self._step(model, batch, context).items():
                sums[name] = sums.get(name, 0.0) + real * float(value)
                weights[name] = weights.get(name, 0.0) + real
        return to_floats({name: sums[name] / weights[name] for name in sums})

    def _terms(self, model: keras.Model, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Means of one batch; each counts by its number of real examples."""
        terms = self.task.held_out_terms(model, batch, self._stream)
        named = {"loss": terms.loss, **terms.metrics}
        return {name: tf.math.divide_no_nan(t.sum, t.weight) for name, t in named.items()}
