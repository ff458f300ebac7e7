"""What a system gives the exporter: functions, their meaning, examples, a reference."""

import abc
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import tensorflow as tf

from export.signatures.fields import SignatureDoc
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from trainers.runs import Run

Arrays = dict[str, np.ndarray]


class Signatures(abc.ABC):
    """One trained model as functions that take what clients have.

    Attributes:
        takes_encoder: whether the model learned from features, so that an encoder can make them.
    """

    takes_encoder = False

    @classmethod
    @abc.abstractmethod
    def from_run(cls, run: Run, frame_rate_hz: float | None, checkpoint: str) -> Self:
        """The signatures of a trained run.

        Args:
            run: from `trainers.runs.load_run`.
            frame_rate_hz: rate of the frames in the records, where no record folder tells it.
            checkpoint: what was asked for, for the model card.

        Raises:
            UserError: nothing tells what the model takes, or one export cannot stand for it.
        """

    @property
    @abc.abstractmethod
    def module(self) -> tf.Module:
        """Tracks every variable and asset the functions use."""

    @property
    @abc.abstractmethod
    def info(self) -> ModelInfo:
        """Facts for clients; signatures and operation libraries are filled in by the exporter."""

    @property
    @abc.abstractmethod
    def default_name(self) -> str:
        """The signature that `serving_default` stands for."""

    @property
    @abc.abstractmethod
    def caution(self) -> str:
        """How the answers are not to be read, for the model card."""

    @abc.abstractmethod
    def apply(self, options: ExportOptions) -> None:
        """Takes the options on. Raises UserError for one that the model has no use for."""

    @abc.abstractmethod
    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """Functions by signature name, each with an input signature whose axis 0 counts rows and is
        free, or as long as the options say."""

    @abc.abstractmethod
    def docs(self) -> dict[str, SignatureDoc]:
        """What each signature takes and gives; clients know no more of it."""

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

    def pages(
        self, requests: Mapping[str, Arrays], answers: Mapping[str, Arrays]
    ) -> dict[str, bytes]:
        """Pages about one row's answers by the names of their files, for which the model is at
        hand; none where its answers say all.

        Args:
            requests: what was asked, by signature.
            answers: outputs of the same.
        """
        return {}

    @abc.abstractmethod
    def example_files(self) -> dict[str, bytes]:
        """Small files by name that the documentation's examples read."""


class ComparingSignatures(Signatures):
    """Signatures of a model that gives media and sentences places in common spaces."""

    @property
    @abc.abstractmethod
    def embedders(self) -> Mapping[str, str]:
        """Signatures that embed one file or sentence, by `image`, `video`, `audio` and `text`."""

    @abc.abstractmethod
    def modality(self, medium: str) -> str:
        """The model's modality for `image`, `video`, `audio` or `text`."""

    @abc.abstractmethod
    def compared(self, query: str, target: str) -> tuple[str, str]:
        """Outputs by which a query of one modality is compared with another or with its own."""

    @abc.abstractmethod
    def temperature(self, modality: str) -> tf.Tensor | float:
        """What similarities of `modality` with text are divided by for probabilities."""

    @abc.abstractmethod
    def record_input(self, medium: str) -> Any:
        """What records are read with to be compared with, by `image`, `video` or `audio`: an
        InputConfig (trainers/data/config.py)."""

    @abc.abstractmethod
    def patch(self, medium: str) -> str:
        """Name of the patches that `image` and `video` are cut into; empty for the default ones."""
