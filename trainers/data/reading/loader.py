"""Reads records under each data set's policy for those that are corrupt."""

import logging
import threading
from collections.abc import Callable

import tensorflow as tf

from mm_models.errors import UserError
from trainers.data.config import DatasetConfig
from trainers.data.reading.index import CorruptRecord, RecordIndex


class RecordLoader:
    """Contents of records by number.

    A corrupt record either ends the run with a message that names it, or is counted and left out.

    Attributes:
        indexes: of the data sets.
    """

    def __init__(
        self,
        indexes: list[RecordIndex],
        datasets: list[DatasetConfig],
        decode: Callable[[bytes, int], None] | None = None,
    ):
        """Takes opened data sets and `decode`, which reads all that a batch may take of a record.

        It gets the content and the data set's number, and raises a TensorFlow error for what no
        batch can be made of; None where batches take nothing of records.
        """
        self.indexes = indexes
        self._datasets = datasets
        self._decode = decode
        self._corrupt: set[tuple[int, int]] = set()
        self._lock = threading.Lock()

    @property
    def decodes(self) -> bool:
        """Whether batches take anything of records."""
        return self._decode is not None

    def load_all(self, dataset: int, numbers) -> list[bytes] | None:
        """Contents of `numbers`, or None where one of them is corrupt: then load one by one."""
        try:
            return self.indexes[dataset].read(numbers)
        except CorruptRecord:
            return None

    def load(self, dataset: int, number: int, *, verify: bool) -> bytes | None:
        """Content of one record, or None where it is corrupt and may be skipped.

        Args:
            dataset: data set number.
            number: record number.
            verify: also parse and decode the record, where a valid checksum may still hold what
                no batch can be made of.

        Raises:
            UserError: it is corrupt and the policy is to fail, or too many are.
        """
        try:
            content = self.indexes[dataset].read_one(number)
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
        """Parses and decodes a record. Raises CorruptRecord."""
        if self._decode is None:
            return
        try:
            self._decode(content, dataset)
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0]
            raise self.indexes[dataset].corrupt(number, content, reason) from error

    def _note(self, dataset: int, number: int, corrupt: CorruptRecord) -> None:
        """Counts a corrupt record; raises where the policy does not allow it."""
        config, total = self._datasets[dataset], self.indexes[dataset].num_records
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
