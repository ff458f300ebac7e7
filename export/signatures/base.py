"""What a system gives the exporter: functions, their meaning, examples, a reference."""

import abc
import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from export.version.model_info import ModelInfo
from export.version.options import ExportOptions

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class SignatureDoc:
    """What a person has to know about one signature.

    Attributes:
        summary: one line.
        inputs: meaning by input name, with axes and units.
        outputs: meaning by output name.
    """

    summary: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class Signatures(abc.ABC):
    """One trained model as functions that take what clients have."""

    @property
    @abc.abstractmethod
    def module(self) -> tf.Module:
        """Tracks every variable and asset the functions use."""

    @property
    @abc.abstractmethod
    def info(self) -> ModelInfo:
        """Facts for clients; operation libraries are filled in by the exporter."""

    @property
    @abc.abstractmethod
    def default_name(self) -> str:
        """The signature that `serving_default` stands for."""

    @property
    @abc.abstractmethod
    def caution(self) -> str:
        """How the answers are not to be read, for the model card."""

    @property
    def embedders(self) -> dict[str, str]:
        """Signatures that embed one file or sentence, by `image`, `video`, `audio` and `text`; none
        where the answers are not places in a common space."""
        return {}

    @abc.abstractmethod
    def apply(self, options: ExportOptions) -> None:
        """Takes the options on. Raises UserError for one that the model has no use for."""

    @abc.abstractmethod
    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """Functions by signature name, each with an input signature whose axis 0 counts rows and is
        free, or as long as the options say."""

    @abc.abstractmethod
    def docs(self) -> dict[str, SignatureDoc]:
        """Documentation by signature name."""

    @abc.abstractmethod
    def examples(self) -> dict[str, list[Arrays]]:
        """Requests by signature name, of one and of several rows or of the only number that there
        may be: warm-up and proof."""

    @abc.abstractmethod
    def reference(self, name: str, inputs: Arrays) -> Arrays:
        """Outputs computed row by row with the checkpoint's model, outside any graph.

        Args:
            name: signature.
            inputs: as in a request.
        """

    @abc.abstractmethod
    def example_files(self) -> dict[str, bytes]:
        """Small files by name that the documentation's examples read."""
