"""Where rows of batches come from: every record in turn, or what a part of an input says."""

import abc
from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np

from trainers.data.config import DatasetConfig
from trainers.data.order.example_order import EvaluationOrder, TrainingOrder
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.reader import BatchReader, RawBatch, Slice


class Reader(Protocol):
    """Reads the elements of a host's data set."""

    def read(self, element: int, verify: bool = False) -> RawBatch:
        """Reads the host's n-th element; see `BatchReader.read`."""


class ExampleSource(abc.ABC):
    """Examples in places that an order walks: data sets, or tasks in them.

    Attributes:
        sizes: examples of each place.
        weights: how often training takes each, relative to the others.
        dataset_shares: share of the rows that training takes of each data set.
        records_per_row: records that a row takes at most.
    """

    sizes: Sequence[int]
    weights: Sequence[float]
    dataset_shares: Sequence[float]
    records_per_row: int = 1

    @abc.abstractmethod
    def reader(
        self,
        loader: RecordLoader,
        order: TrainingOrder | EvaluationOrder,
        host_slice: Slice,
        seed: int,
    ) -> Reader:
        """What reads the examples that an order over `sizes` names."""

    def identify(self, place: int, ordinals: np.ndarray) -> Sequence[Hashable]:
        """What tells examples of the input apart, whichever place they are taken from.

        Args:
            place: number of it.
            ordinals: int64[examples] numbers of the examples there.
        """
        return [(place, ordinal) for ordinal in ordinals.tolist()]

    def extra_specs(self, batch_size: int) -> Any:
        """Nested `tf.TensorSpec`s of what the reader puts into `RawBatch.extra`."""
        return ()


class RecordSource(ExampleSource):
    """Every record is an example."""

    def __init__(self, indexes: list[RecordIndex], datasets: list[DatasetConfig]):
        """Takes opened data sets."""
        self.sizes = [index.num_records for index in indexes]
        self.weights = [dataset.weight for dataset in datasets]
        self.dataset_shares = [weight / sum(self.weights) for weight in self.weights]
        self._indexes = indexes
        contents = [index.contents for index in indexes]
        self._files = [contents.index(each) for each in contents]

    def identify(self, place, ordinals) -> list[Hashable]:
        """By the files that data sets read, of which several may read the same ones."""
        stored = self._indexes[place].stored_numbers(ordinals)
        return [(self._files[place], number) for number in stored.tolist()]

    def reader(self, loader, order, host_slice, seed) -> Reader:
        """Reads the records themselves."""
        return BatchReader(loader, order, host_slice, seed)
