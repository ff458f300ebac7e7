"""Whether the streams of an experiment pull their shared weights the same way."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from mm_models.checks import check_at_least
from mm_models.errors import UserError
from trainers.data import pipeline
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import EvaluatorConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.pictures import matrices, panels
from trainers.tasks.base import Task

# float32[...] by variable path, without those that a loss does not depend on.
Gradients = dict[str, np.ndarray]


@dataclasses.dataclass
class StreamConflictConfig(EvaluatorConfig):
    """Fields of `stream_conflict`.

    Attributes:
        num_batches: of each stream's own training input.
        num_pictures: 0 writes no picture of the cosines.
    """

    num_batches: int = 2
    num_pictures: int = 4


class StreamConflictEvaluator(Evaluator):
    """Cosine between the gradients of every two streams' losses.

    A stream's gradient is that of its mean loss over `num_batches` batches of its own training
    input, the same ones at every evaluation, without dropout and DropToken and with the running
    statistics of batch norm. Two streams are compared on the variables that both their losses
    depend on; `cosine/<a>_vs_<b>` below 0 means that a step on one undoes what one on the other
    does. The gradients are held in host memory, one model's size for each stream.
    """

    config_class = StreamConflictConfig
    config: StreamConflictConfig

    def __init__(self, name: str, config: StreamConflictConfig, task: Task):
        """Raises UserError when fewer than two streams are trained."""
        super().__init__(name, config, task)
        self._streams = [name for name, stream in task.streams.items() if stream.weight > 0]
        if len(self._streams) < 2:
            raise UserError(
                f"evaluators.{name}.kind is stream_conflict, which compares streams, and only "
                f"{self._streams} is trained; leave the evaluator out"
            )
        check_at_least(config.num_batches, 1, f"evaluators.{name}.num_batches")
        self._steps = {
            stream: CompiledFunction(functools.partial(self._gradients, stream))
            for stream in self._streams
        }

    def metric_names(self) -> set[str]:
        return {f"cosine/{a}_vs_{b}" for a, b in itertools.combinations(self._streams, 2)}

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        found = {name: self._mean_gradients(name, model, context) for name in self._streams}
        cosines = {
            pair: cosine(found[pair[0]], found[pair[1]])
            for pair in itertools.combinations(self._streams, 2)
        }
        cosines = {pair: value for pair, value in cosines.items() if value is not None}
        if context.shows(self.config.num_pictures):
            self.write([heat_map(self._streams, cosines)], context)
        return to_floats({f"cosine/{a}_vs_{b}": value for (a, b), value in cosines.items()})

    def _mean_gradients(
        self, stream: str, model: keras.Model, context: EvaluationContext
    ) -> Gradients:
        sums: dict[str, np.ndarray] = {}
        count, inputs = self.config.num_batches, self.task.streams[stream].input
        for batch in pipeline.build_train_dataset(inputs, seed=context.seed).take(count):
            for path, value in self._steps[stream](model, batch, context).items():
                sums[path] = sums.get(path, 0.0) + value.numpy() / count
        return sums

    def _gradients(
        self, stream: str, model: keras.Model, batch: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """float32[...] of the batch's mean loss, by path of the variables it depends on."""
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            terms = self.task.held_out_terms(model, batch, stream)
            loss = tf.math.divide_no_nan(*(tf.cast(part, tf.float32) for part in terms.loss))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        return {
            variable.path: tf.cast(tf.convert_to_tensor(gradient), tf.float32)
            for variable, gradient in zip(variables, gradients, strict=True)
            if gradient is not None
        }


def cosine(first: Gradients, second: Gradients) -> float | None:
    """Over the variables that both have; None where there is none or a gradient vanishes."""
    products = np.zeros(3)
    for path in first.keys() & second.keys():
        a, b = (np.asarray(each[path], np.float64).ravel() for each in (first, second))
        products += (a @ b, a @ a, b @ b)
    norm = np.sqrt(products[1] * products[2])
    return float(products[0] / norm) if norm > 0 else None


def heat_map(streams: list[str], cosines: Mapping[tuple[str, str], float]) -> panels.ImagePanel:
    """Stream by stream, dark where two oppose each other and bright where they agree."""
    table = np.eye(len(streams))
    for (a, b), value in cosines.items():
        row, column = streams.index(a), streams.index(b)
        table[row, column] = table[column, row] = value
    picture = matrices.matrix_image(
        table,
        matrices.Axis("stream", streams),
        matrices.Axis("stream", streams),
        meaning="cosine of two streams' gradients: dark where they oppose each other",
        low=-1.0,
        high=1.0,
    )
    return panels.ImagePanel("cosine", picture)
