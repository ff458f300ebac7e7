"""An input whose data sets, vocabularies and other files are open."""

import dataclasses
import math

from mm_models.errors import UserError
from trainers.data.config import InputConfig
from trainers.data.order.example_order import TrainingOrder
from trainers.data.order.mixture import MixtureBlock
from trainers.data.parts.base import InputPart, build_parts
from trainers.data.reading.example_source import ExampleSource, RecordSource
from trainers.data.reading.index import RecordIndex
from trainers.data.validation import validate


def open_indexes(config: InputConfig, name: str = "input") -> list[RecordIndex]:
    """Opens every data set of a stream, in the order of the configuration.

    Args:
        config: a validated input.
        name: where it stands in the experiment's configuration, for messages.

    Raises:
        UserError: nothing there, an empty split, records that do not go with a part of the input.
    """
    parts = build_parts(config, name).values()
    indexes = []
    for key, dataset in config.datasets.items():
        index = RecordIndex.open(dataset)
        for part in parts:
            fault = part.stored_fault(dataset, index.info or {})
            if fault:
                raise UserError(f"{name}.datasets.{key}: {fault}")
        indexes.append(index)
    return indexes


@dataclasses.dataclass(frozen=True)
class OpenedInput:
    """What reading, and telling what will be read, starts from.

    Attributes:
        config: the input.
        parts: by name, all of them open.
        indexes: one for each data set.
        source: where examples come from.
        source_part: name of the part that says so; empty where every record is an example.
    """

    config: InputConfig
    parts: dict[str, InputPart]
    indexes: list[RecordIndex]
    source: ExampleSource
    source_part: str = ""

    @classmethod
    def open(
        cls, config: InputConfig, name: str = "input", *, seed: int = 0, training: bool = True
    ) -> "OpenedInput":
        """Opens an input.

        Args:
            config: one stream's or evaluator's input.
            name: where it stands in the experiment's configuration, for messages.
            seed: experiment seed.
            training: whether batches are for training, else for evaluation.

        Raises:
            UserError: a wrong field, a missing file, an empty split, records that do not go with a
                part of the input.
        """
        validate(config, name)
        indexes = open_indexes(config, name)
        parts = build_parts(config, name)
        for part in parts.values():
            part.open(indexes, seed=seed, training=training)
        opened = cls(config, parts, indexes, *_example_source(config, parts, indexes, name))
        if training:
            opened.check_distinct(name)
        return opened

    def training_order(self, seed: int) -> TrainingOrder:
        """The endless order of training."""
        source, batch_size = self.source, self.config.batch_size
        identify = source.identify if self._is_distinct else None
        return TrainingOrder(source.sizes, MixtureBlock(source.weights), batch_size, seed, identify)

    @property
    def _is_distinct(self) -> bool:
        return any(part.distinct_records for part in self.config.parts.values())

    def check_distinct(self, name: str) -> None:
        """Raises UserError where batches have each record once, and have more rows than there are.

        Args:
            name: where the input stands in the experiment's configuration.
        """
        if not self._is_distinct:
            return
        named = zip(self.config.datasets, self.source.dataset_shares, self.indexes, strict=True)
        for key, share, index in named:
            rows = math.ceil(share * self.config.batch_size)
            if rows > index.num_records:
                raise UserError(
                    f"{name}.batch_size is {self.config.batch_size}, of which {rows} rows are of "
                    f"{name}.datasets.{key}, which has {index.num_records} records, and no batch "
                    "may have a record twice; make it smaller, or read more records"
                )


def _example_source(
    config: InputConfig, parts: dict[str, InputPart], indexes: list[RecordIndex], name: str
) -> tuple[ExampleSource, str]:
    asked = {part: each.example_source() for part, each in parts.items()}
    brought = {part: source for part, source in asked.items() if source is not None}
    if len(brought) > 1:
        raise UserError(
            f"{name} reads {' and '.join(brought)}, which each say where examples come from; set "
            "all but one of them to null"
        )
    for part, source in brought.items():
        return source, part
    return RecordSource(indexes, list(config.datasets.values())), ""
