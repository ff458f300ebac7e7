"""The contract between a task, which knows what is learned from a batch, and the loop."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import keras
import tensorflow as tf

from trainers.config.schema import StreamConfig
from trainers.evaluation.pictures.panels import Panel
from trainers.optimization.gradient_rules import Differentiable, GradientRule, PlainGradients
from trainers.tasks.classifier import Classifier
from trainers.tasks.terms import Batch, StepTerms


class TaskConfig(Protocol):
    """What shared code reads of a task's own dataclass.

    Attributes:
        __dataclass_fields__: it is a dataclass, whose fields are what a run may not change.
        name: of the system.
        model: dataclass of the system's model; plans change its fields, and follow those that hold
            the configs of parts.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: str
    model: Any


class Task(Differentiable, abc.ABC):
    """Single-replica view of one system's training; knows no loop and no strategy.

    A step is `terms(model, encode(model, batch), batch)`. `encode` is local to a replica and always
    compiles with XLA; collectives (global negatives, synchronised batch norm) belong in `terms`,
    which gets `gather`, a differentiable all-gather over the batch axis.

    Attributes:
        config: the task's own, with what follows from others of its fields filled in.
        streams: by name.
    """

    def __init__(self, config: TaskConfig, streams: Mapping[str, StreamConfig]):
        """Takes the task's own config and the experiment's streams by name.

        A task can also be made without streams, to build its model and no more.
        """
        self.config = config
        self.streams = streams

    @abc.abstractmethod
    def build_model(self) -> keras.Model:
        """Builds the model with every weight created. Called under the strategy's scope."""

    def initialize(self, model: keras.Model) -> list[str]:
        """Gives a new run's model what does not start at random, and says so in lines for the log.

        Called under the strategy's scope before the first step; not when a run resumes, nor when
        one is loaded, since checkpoints hold the result. By default nothing.
        """
        return []

    def held_out_terms(self, model: keras.Model, batch: Batch, stream: str) -> StepTerms:
        """Loss and metrics of one batch as it is, without dropout; negatives come from it alone."""
        seed = tf.zeros([2], tf.int32)
        outputs = self.encode(model, batch, stream=stream, training=False, seed=seed)
        return self.terms(model, outputs, batch, stream=stream, training=False, gather=tf.identity)

    def gradient_rule(
        self, model: keras.Model, variables: Sequence[keras.Variable], *, stream: str, mean: bool
    ) -> GradientRule:
        """How the loss of `stream` becomes gradients of `variables`; by default as it is.

        With `mean`, the rule divides by the global weight; otherwise the loop does so later.
        """
        return PlainGradients(self, model, variables, stream=stream, mean=mean)

    def variable_groups(self, model: keras.Model) -> dict[str, list[keras.Variable]]:
        """Disjoint trainable variables by optimizer name; by default all belong to `main`."""
        return {"main": list(model.trainable_variables)}

    def stack_depths(self) -> dict[str, int]:
        """Depth of every stack of like blocks, by the dotted field of `config.model` that sets it.

        Plans (trainers/planning) count a deep model from shallow ones; by default the whole model
        is counted as it is.
        """
        return {}

    @abc.abstractmethod
    def tokens_per_example(self, stream: str) -> int:
        """Tokens the encoders process for one example of `stream` in training."""

    def classifiers(self) -> dict[str, Classifier]:
        """What tells classes apart, by name of the objective, which is empty for a task that is a
        classifier as a whole; by default nothing does."""
        return {}

    def num_classes(self, stream: str) -> int:
        """Classes that the labels of `stream` may name; by default 0, which allows any."""
        return 0

    @abc.abstractmethod
    def summaries(self, model: keras.Model, batch: Batch, *, stream: str) -> list[Panel]:
        """Pictures, sounds and tables of one batch for TensorBoard."""
