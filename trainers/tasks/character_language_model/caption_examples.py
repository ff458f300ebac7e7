"""Every caption of every record as an example of an evaluation."""

import contextlib
from typing import Any

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.errors import UserError
from trainers.data.config import DatasetConfig
from trainers.data.order.example_order import Draw, EvaluationOrder, TrainingOrder
from trainers.data.parts.text.captions import usable_captions
from trainers.data.reading.example_source import ExampleSource
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.parse import Parser, Wanted
from trainers.data.reading.reader import BatchReader, RawBatch, Slice

CAPTION_KEYS = (contract.CAPTION, contract.CAPTION_STYLE, contract.CAPTION_LANGUAGE)
_RECORDS_AT_ONCE = 256


class CaptionExamples(ExampleSource):
    """The captions that data sets keep, each once.

    Attributes:
        places: for every data set, int64[examples, 2] number of the record and of the caption among
            those of it that are kept.
    """

    def __init__(self, indexes: list[RecordIndex], datasets: list[DatasetConfig], field: str):
        """Reads every record once.

        Raises:
            UserError: no caption is kept, or a record is corrupt and the policy is to fail.
        """
        counter = _CaptionCounter(indexes, datasets)
        self.places = [counter.places(number) for number in range(len(datasets))]
        self.sizes = [len(each) for each in self.places]
        if not sum(self.sizes):
            paths = ", ".join(dataset.path for dataset in datasets)
            raise UserError(
                f"{field}: the records of {paths} have no caption that the data sets keep; look "
                "at caption_styles and caption_languages"
            )
        self.weights = [dataset.weight for dataset in datasets]
        self.dataset_shares = [weight / sum(self.weights) for weight in self.weights]

    def reader(
        self,
        loader: RecordLoader,
        order: TrainingOrder | EvaluationOrder,
        host_slice: Slice,
        seed: int,
    ) -> "CaptionReader":
        """Reads the records, and says which of their captions are meant."""
        return CaptionReader(self.places, loader, order, host_slice, seed)

    def extra_specs(self, batch_size: int) -> tf.TensorSpec:
        """The number of the caption."""
        return tf.TensorSpec([batch_size], tf.int32)


class CaptionReader:
    """Reads the records of captions that an order names; `extra` is the number of the caption."""

    def __init__(self, places, loader, order, host_slice: Slice, seed: int):
        """Takes the places of `CaptionExamples`, and what `BatchReader` takes."""
        self._places, self._order, self._slice = places, order, host_slice
        self._records = BatchReader(loader, _RecordOrder(places, order), host_slice, seed)

    def read(self, element: int, verify: bool = False) -> RawBatch:
        """Reads the host's n-th element; see `BatchReader.read`."""
        draw = self._order.draw(*self._slice.place(int(element)))
        captions = np.zeros(len(draw.dataset), np.int32)
        for number, places in enumerate(self._places):
            rows = np.flatnonzero(draw.dataset == number)
            captions[rows] = places[self._order.record(number, draw.ordinal[rows]), 1]
        return self._records.read(element, verify)._replace(extra=captions)


class _RecordOrder:
    """An order over captions as one of the records that they stand in."""

    def __init__(self, places, order: Any):
        self._places, self._order = places, order

    def draw(self, step: int, positions: np.ndarray) -> Draw:
        """As the order over captions."""
        return self._order.draw(step, positions)

    def record(self, dataset: int, ordinals: np.ndarray, shift: int = 0) -> np.ndarray:
        """Numbers of the records at ordinals of captions."""
        return self._places[dataset][self._order.record(dataset, ordinals, shift), 0]


class _CaptionCounter:
    """Finds out how many captions of each record are kept, as the part itself would."""

    def __init__(self, indexes: list[RecordIndex], datasets: list[DatasetConfig]):
        names = [dict(dataset.feature_names) for dataset in datasets]
        self._parser = Parser(Wanted(dict.fromkeys(CAPTION_KEYS, tf.string)), names)
        self._datasets = datasets
        self._loader = RecordLoader(indexes, datasets, self._counted_one)

    def places(self, dataset: int) -> np.ndarray:
        """int64[captions, 2] record and caption of all that a data set keeps."""
        num_records = self._loader.indexes[dataset].num_records
        starts = range(0, num_records, _RECORDS_AT_ONCE)
        parts = [
            self._counts(dataset, range(start, min(start + _RECORDS_AT_ONCE, num_records)))
            for start in starts
        ]
        counts = np.concatenate(parts)
        records = np.repeat(np.arange(num_records), counts)
        firsts = np.repeat(np.cumsum(counts) - counts, counts)
        return np.stack([records, np.arange(len(records)) - firsts], axis=1)

    def _counts(self, dataset: int, records: range) -> np.ndarray:
        contents = self._loader.load_all(dataset, np.asarray(records))
        if contents is not None:
            with contextlib.suppress(tf.errors.OpError):
                return self._counted(contents, dataset)
        # Record by record, to find out which one is corrupt.
        found = (self._loader.load(dataset, record, verify=True) for record in records)
        return np.concatenate(
            [[0] if one is None else self._counted([one], dataset) for one in found]
        ).astype(np.int64)

    def _counted(self, contents: list[bytes], dataset: int) -> np.ndarray:
        rows = tf.fill([len(contents)], dataset)
        usable = usable_captions(self._parser(tf.constant(contents), rows), rows, self._datasets)
        return tf.reduce_sum(tf.cast(usable, tf.int64), axis=1).numpy()

    def _counted_one(self, content: bytes, dataset: int) -> None:
        """Raises a TensorFlow error where the content is no record."""
        self._counted([content], dataset)
