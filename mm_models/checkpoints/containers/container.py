"""What every container of weights offers."""

import abc
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from mm_models.checkpoints.containers import output_files
from mm_models.checkpoints.mapping import Source


class Container(abc.ABC):
    """How arrays lie in files.

    Attributes:
        writes_remote: whether files can be written to another machine.
    """

    writes_remote = False

    @abc.abstractmethod
    def recognises(self, path: str) -> bool:
        """Whether `path` is of this kind, by what lies there, not by a file's ending; cheap."""

    @abc.abstractmethod
    def open_source(self, path: str) -> Source:
        """Opens what `recognises` took. Raises UserError for what is damaged."""

    def write(
        self,
        values: Iterable[tuple[str, np.ndarray]],
        path: str,
        *,
        step: int = 0,
        settings: dict[str, Any] | None = None,
    ) -> str:
        """Writes arrays, which appear by rename.

        Args:
            values: arrays by key.
            path: must not exist.
            step: training step of the weights, kept where the format has a place for it.
            settings: config of the model, kept where the format has a place for it.

        Returns:
            What to open.

        Raises:
            UserError: `path` exists, or cannot be written.
        """
        if not self.writes_remote:
            output_files.check_local(path)
        with output_files.appearing(path) as unfinished:
            name = self._write(values, unfinished, step, settings)
        return os.path.join(path, name) if name else path

    @abc.abstractmethod
    def _write(
        self,
        values: Iterable[tuple[str, np.ndarray]],
        path: str,
        step: int,
        settings: dict[str, Any] | None,
    ) -> str:
        """Writes to a path where nothing is; gives the name below it to open, empty for itself."""
