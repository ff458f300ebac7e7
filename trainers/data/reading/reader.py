"""Reads the records of one batch, and deals with those that are corrupt."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainers.data import draw_columns
from trainers.data.order.example_order import EvaluationOrder, Taken, TrainingOrder
from trainers.data.order.randomness import example_draws, example_seeds
from trainers.data.reading.loader import RecordLoader

EXAMPLE_ID_STRIDE = 2**40
PADDING_ID = -1


class Slice(NamedTuple):
    """The part of every global batch that one element of a host's data set holds.

    Attributes:
        host: number of this host.
        replicas_per_host: elements per step on this host.
        batch_size: examples per element.
    """

    host: int
    replicas_per_host: int
    batch_size: int

    def place(self, element: int) -> tuple[int, np.ndarray]:
        """Step and int64[batch] positions in the global batch of the host's n-th element."""
        step, replica = divmod(element, self.replicas_per_host)
        first = (self.host * self.replicas_per_host + replica) * self.batch_size
        return step, first + np.arange(self.batch_size)


class RawBatch(NamedTuple):
    """Serialized records with what decides their sampling, as NumPy arrays or as tensors.

    Attributes:
        serialized: bytes[batch] records, empty for padding.
        dataset: int32[batch] data set numbers, -1 for padding.
        example_id: int64[batch] data set number * 2**40 + record number, -1 for padding.
        draws: float32[batch, purposes] uniform numbers.
        seeds: int32[batch, 2].
        extra: what the source of examples adds for its part (see `ExampleSource`).
    """

    serialized: np.ndarray | tf.Tensor
    dataset: np.ndarray | tf.Tensor
    example_id: np.ndarray | tf.Tensor
    draws: np.ndarray | tf.Tensor
    seeds: np.ndarray | tf.Tensor
    extra: Any = ()


class BatchReader:
    """Reads the examples that an order names.

    A corrupt record either ends the run with a message that names it, or is replaced by the next
    valid one of the order, which keeps every batch a function of (seed, step). Where batches have
    each record once, one that the batch has not stands in for it; only corrupt records of two
    replicas in one step may then be replaced by the same one.
    """

    def __init__(
        self,
        loader: RecordLoader,
        order: TrainingOrder | EvaluationOrder,
        host_slice: Slice,
        seed: int,
    ):
        """Takes what loads records and the order to read them in."""
        self._loader = loader
        self._order = order
        self._slice = host_slice
        self._seed = seed

    def read(self, element: int, verify: bool = False) -> RawBatch:
        """Reads the host's n-th element.

        Args:
            element: number of the element.
            verify: also parse and decode every record, to find the one that made a batch fail.

        Raises:
            UserError: a record is corrupt and the policy is to fail, or too many are.
        """
        step, positions = self._slice.place(int(element))
        draw = self._order.draw(step, positions)
        serialized = np.empty(len(positions), object)
        serialized[:] = b""
        example_id = np.full(len(positions), PADDING_ID, np.int64)
        for dataset in range(len(self._loader.indexes)):
            rows = np.flatnonzero(draw.dataset == dataset)
            places = draw.ordinal[rows], draw.shift[rows]
            for row, (number, content) in zip(
                rows, self._read_rows(step, dataset, places, verify), strict=True
            ):
                serialized[row] = content
                example_id[row] = dataset * EXAMPLE_ID_STRIDE + number
        return RawBatch(
            serialized,
            draw.dataset.astype(np.int32),
            example_id,
            example_draws(self._seed, step, positions, draw_columns.COUNT),
            example_seeds(self._seed, step, positions),
        )

    def _read_rows(
        self, step: int, dataset: int, places: tuple[np.ndarray, np.ndarray], verify: bool
    ) -> list[tuple[int, bytes]]:
        """Records at ordinals and shifts of a data set."""
        numbers = self._order.record(dataset, *places)
        contents = None if verify else self._loader.load_all(dataset, numbers)
        if contents is not None:
            return list(zip(numbers.tolist(), contents, strict=True))
        # Row by row, to find out which record is corrupt and to replace it.
        taken = self._order.taken(step)
        return [
            self._read_row(dataset, ordinal, int(shift), taken, verify)
            for ordinal, shift in zip(*places, strict=True)
        ]

    def _read_row(
        self, dataset: int, ordinal: int, shift: int, taken: Taken | None, verify: bool
    ) -> tuple[int, bytes]:
        """The record at an ordinal, or the next valid one of the order that is not taken."""
        for further in range(self._loader.indexes[dataset].num_records):
            numbers = self._order.record(dataset, np.asarray([ordinal]), shift + further)
            number = int(numbers[0])
            if further and taken is not None and not taken.add(dataset, numbers):
                continue
            content = self._loader.load(dataset, number, verify=verify or further > 0)
            if content is not None:
                return number, content
        raise self._loader.none_left(dataset)
