"""A function of a model, compiled once per shape of its inputs and kept between evaluations."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from trainers.evaluation.base import EvaluationContext

# A model and tensors by name -> nested tensors.
ModelFunction = Callable[[keras.Model, Mapping[str, tf.Tensor]], Any]


class CompiledFunction:
    """Runs `function` as a graph. On TPUs all replicas run it; the first one's result counts."""

    def __init__(self, function: ModelFunction):
        """Takes what to run."""
        self._function = function
        self._model = None
        self._graph = None

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

    @property
    def trace_count(self) -> int:
        """Graphs made for the present model."""
        return 0 if self._graph is None else self._graph.experimental_get_tracing_count()
