"""What every container of weights offers."""

import abc
import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mm_models.checkpoints.containers import output_files
from mm_models.checkpoints.mapping import Source


@dataclasses.dataclass(frozen=True)
class Extras:
    """What is written with arrays, by containers that have a place for it.

    Attributes:
        step: training step of the weights.
        settings: config of the model; None for none.
        files: further files beside the weights by name: bytes, or what becomes JSON.
        shard_bytes: most bytes of arrays in one file; 0 for no limit. A larger array has a file of
            its own.
    """

    step: int = 0
    settings: Mapping[str, Any] | None = None
    files: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    shard_bytes: int = 0


class Container(abc.ABC):
    """How arrays lie in files.

    Attributes:
        writes_remote: whether files can be written to another machine.
        shards: whether `Extras.shard_bytes` is minded.
    """

    writes_remote = False
    shards = False

    @abc.abstractmethod
    def recognises(self, path: str) -> bool:
        """Whether `path` is of this kind, by what lies there, not by a file's ending; cheap."""

    @abc.abstractmethod
    def open_source(self, path: str) -> Source:
        """Opens what `recognises` took. Raises UserError for what is damaged."""

    def write(
        self, values: Iterable[tuple[str, np.ndarray]], path: str, extras: Extras | None = None
    ) -> str:
        """Writes arrays, which appear by rename.

        Args:
            values: arrays by key.
            path: must not exist.
            extras: see there.

        Returns:
            What to open.

        Raises:
            UserError: `path` exists, or cannot be written.
        """
        if not self.writes_remote:
            output_files.check_local(path)
        with output_files.appearing(path) as unfinished:
            name = self._write(values, unfinished, extras or Extras())
        return os.path.join(path, name) if name else path

    @abc.abstractmethod
    def _write(self, values: Iterable[tuple[str, np.ndarray]], path: str, extras: Extras) -> str:
        """Writes to a path where nothing is; gives the name below it to open, empty for itself."""
