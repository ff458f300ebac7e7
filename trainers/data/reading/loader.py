"""Reads records under each data set's policy for those that are corrupt."""

import logging
import threading

import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.errors import UserError
from mm_models.signal import frames
from trainers.data.config import DatasetConfig
from trainers.data.reading.index import CorruptRecord, RecordIndex
from trainers.data.reading.parse import Parser


class RecordLoader:
    """Contents of records by number.

    A corrupt record either ends the run with a message that names it, or is counted and left out.
    """

    def __init__(
        self, indexes: list[RecordIndex], datasets: list[DatasetConfig], parser: Parser | None
    ):
        """Takes opened data sets, and what parses their records where they are verified."""
        self._indexes = indexes
        self._datasets = datasets
        self._parser = parser
        self._corrupt: set[tuple[int, int]] = set()
        self._lock = threading.Lock()

    def load_all(self, dataset: int, numbers) -> list[bytes] | None:
        """Contents of `numbers`, or None where one of them is corrupt: then load one by one."""
        try:
            return self._indexes[dataset].read(numbers)
        except CorruptRecord:
            return None

    def load(self, dataset: int, number: int, *, verify: bool) -> bytes | None:
        """Content of one record, or None where it is corrupt and may be skipped.

        Args:
            dataset: data set number.
            number: record number.
            verify: also parse the record and decode its frames, which are where a valid checksum
                may still hold what no batch can be made of.

        Raises:
            UserError: it is corrupt and the policy is to fail, or too many are.
        """
        try:
            content = self._indexes[dataset].read_one(number)
            if verify:
                self._verify(dataset, number, content)
            return content
        except CorruptRecord as corrupt:
            self._note(dataset, number, corrupt)
            return None

    def none_left(self, dataset: int, need: str = "is valid; preprocess again") -> UserError:
        """What to raise where no record of a data set can be used."""
        return UserError(f"no record of {self._datasets[dataset].path} {need}")

    def _verify(self, dataset: int, number: int, content: bytes) -> None:
        """Parses a record and decodes all of its frames. Raises CorruptRecord."""
        if self._parser is None:
            return
        try:
            parsed = self._parser(tf.constant([content]), tf.constant([dataset]))
            for frame in parsed.get(
                contract.FRAMES, tf.ragged.constant([[]], tf.string)
            ).flat_values:
                frames.decode_jpeg(frame)
            for sound in parsed.get(
                contract.WAVEFORM_PCM16, tf.ragged.constant([[]], tf.string)
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
