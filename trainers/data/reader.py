"""Reads the records of one batch, and deals with those that are corrupt."""

import logging
import threading
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from beam_pipelines import records
from mm_models.errors import UserError
from mm_models.signal import frames
from trainers.data import purposes
from trainers.data.config import DatasetConfig
from trainers.data.index import CorruptRecord, RecordIndex
from trainers.data.order import EvaluationOrder, TrainingOrder
from trainers.data.parse import Parser
from trainers.data.randomness import example_draws, example_seeds

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
    """

    serialized: np.ndarray | tf.Tensor
    dataset: np.ndarray | tf.Tensor
    example_id: np.ndarray | tf.Tensor
    draws: np.ndarray | tf.Tensor
    seeds: np.ndarray | tf.Tensor


class BatchReader:
    """Reads the examples that an order names.

    A corrupt record either ends the run with a message that names it, or is replaced by the next
    valid one of the order, which keeps every batch a function of (seed, step).
    """

    def __init__(
        self,
        indexes: list[RecordIndex],
        datasets: list[DatasetConfig],
        order: TrainingOrder | EvaluationOrder,
        part: Slice,
        parser: Parser,
        seed: int,
    ):
        """Takes opened data sets and the order to read them in."""
        self._indexes = indexes
        self._datasets = datasets
        self._order = order
        self._part = part
        self._parser = parser
        self._seed = seed
        self._corrupt: set[tuple[int, int]] = set()
        self._lock = threading.Lock()

    def read(self, element: int, verify: bool = False) -> RawBatch:
        """Reads the host's n-th element.

        Args:
            element: number of the element.
            verify: also parse and decode every record, to find the one that made a batch fail.

        Raises:
            UserError: a record is corrupt and the policy is to fail, or too many are.
        """
        step, positions = self._part.place(int(element))
        draw = self._order.draw(step, positions)
        serialized = np.empty(len(positions), object)
        serialized[:] = b""
        example_id = np.full(len(positions), PADDING_ID, np.int64)
        for dataset in range(len(self._indexes)):
            rows = np.flatnonzero(draw.dataset == dataset)
            numbers = self._order.record(dataset, draw.ordinal[rows])
            contents = self._read_rows(dataset, draw.ordinal[rows], numbers, verify)
            for row, (number, content) in zip(rows, contents, strict=True):
                serialized[row] = content
                example_id[row] = dataset * EXAMPLE_ID_STRIDE + number
        return RawBatch(
            serialized,
            draw.dataset.astype(np.int32),
            example_id,
            example_draws(self._seed, step, positions, purposes.COUNT),
            example_seeds(self._seed, step, positions),
        )

    def _read_rows(
        self, dataset: int, ordinals: np.ndarray, numbers: np.ndarray, verify: bool
    ) -> list[tuple[int, bytes]]:
        if not verify:
            try:
                contents = self._indexes[dataset].read(numbers)
                return list(zip(numbers.tolist(), contents, strict=True))
            except CorruptRecord:
                # Row by row below, to find out which and to replace it.
                pass
        return [self._read_row(dataset, ordinal, verify) for ordinal in ordinals]

    def _read_row(self, dataset: int, ordinal: int, verify: bool) -> tuple[int, bytes]:
        """The record at an ordinal, or the next valid one of the order."""
        index = self._indexes[dataset]
        for shift in range(index.num_records):
            number = int(self._order.record(dataset, np.asarray([ordinal]), shift)[0])
            try:
                content = index.read_one(number)
                if verify or shift:
                    self._verify(dataset, number, content)
                return number, content
            except CorruptRecord as corrupt:
                self._note(dataset, number, corrupt)
        raise UserError(f"no record of {self._datasets[dataset].path} is valid; preprocess again")

    def _verify(self, dataset: int, number: int, content: bytes) -> None:
        """Parses a record and decodes all of its frames. Raises CorruptRecord."""
        try:
            parsed = self._parser(tf.constant([content]), tf.constant([dataset]))
            for frame in parsed.get(
                records.FRAMES, tf.ragged.constant([[]], tf.string)
            ).flat_values:
                frames.decode_jpeg(frame)
            for sound in parsed.get(
                records.WAVEFORM_PCM16, tf.ragged.constant([[]], tf.string)
            ).flat_values:
                tf.io.decode_raw(sound, tf.int16)
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0]
            raise self._indexes[dataset].corrupt(number, content, reason) from error

    def _note(self, dataset: int, number: int, corrupt: CorruptRecord) -> None:
        """Counts a corrupt record; raises where the policy does not allow it."""
        config, total = self._datasets[dataset], self._indexes[dataset].num_records
        if config.corrupt_policy == "fail":
            raise UserError(
                f"{corrupt}; preprocess again, or set corrupt_policy to skip"
            ) from corrupt
        with self._lock:
            known = (dataset, number) in self._corrupt
            self._corrupt.add((dataset, number))
            count = sum(entry[0] == dataset for entry in self._corrupt)
        if count > config.corrupt_share_limit * total:
            raise UserError(
                f"{count} of {total} records of {config.path} are corrupt, more than the share "
                f"{config.corrupt_share_limit} that corrupt_share_limit allows; the last one is "
                f"{corrupt}"
            ) from corrupt
        if not known:
            logging.warning("skipped %s (%d of %d records so far)", corrupt, count, total)
