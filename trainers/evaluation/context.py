"""Where and when an evaluation happens, and what is compiled once for all evaluations of a run."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

# A model and tensors by name -> nested tensors.
ModelFunction = Callable[[keras.Model, Mapping[str, tf.Tensor]], Any]


@dataclasses.dataclass
class EvaluationContext:
    """Where and when an evaluation happens.

    Attributes:
        step: training step of the weights.
        model_dir: run folder; evaluators write only under its `eval/`. Empty writes no files.
        summary_writer: TensorBoard writer for pictures, or None for none.
        strategy: the run's strategy; None is one device.
        jit_compile: whether the forward passes compile with XLA.
        seed: makes every draw of an evaluator repeatable.
        shared: functions that several evaluators run, by what tells them apart; a run's contexts
            have one such table, so that they are compiled once.
    """

    step: int = 0
    model_dir: str = ""
    summary_writer: tf.summary.SummaryWriter | None = None
    strategy: tf.distribute.Strategy | None = None
    jit_compile: bool = True
    seed: int = 0
    shared: dict[str, "CompiledFunction"] = dataclasses.field(default_factory=dict)

    def shows(self, num_pictures: int) -> bool:
        """Whether an evaluator of so many pictures is to write them."""
        return self.summary_writer is not None and num_pictures > 0


class CompiledFunction:
    """Runs `function` as a graph, one for each shape of its inputs, kept between evaluations.

    On TPUs all replicas run it; the first one's result counts.
    """

    def __init__(self, function: ModelFunction):
        """Takes what to run."""
        self._function = function
        self._model = None
        self._graph: Any = None

    def __call__(
        self, model: keras.Model, inputs: Mapping[str, tf.Tensor], context: EvaluationContext
    ) -> Any:
        """What the function gives, for tensors of static shapes."""
        if self._model is not model:
            self._model = model
            self._graph = tf.function(
                lambda tensors: self._function(model, tensors), jit_compile=context.jit_compile
            )
        if not isinstance(context.strategy, tf.distribute.TPUStrategy):
            return self._graph(dict(inputs))
        results = context.strategy.run(self._graph, args=(dict(inputs),))
        first = context.strategy.experimental_local_results
        return tf.nest.map_structure(lambda value: first(value)[0], results)
