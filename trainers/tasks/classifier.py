"""What tells classes apart, whichever task it belongs to."""

import dataclasses
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier that a task trains.

    Attributes:
        class_names: in index order.
        modality: of the model, that is looked at.
        is_multi_label: whether an example may have any number of classes.
        logits: a model and {modality: inputs}, with or without an axis of views → float32[batch,
            classes], averaged over the views.
    """

    class_names: list[str]
    modality: str
    is_multi_label: bool
    logits: Callable[[keras.Model, Mapping[str, tf.Tensor]], tf.Tensor]
