"""Every caption of every record as an example of an evaluation."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.errors import UserError
from trainers.data.config import DatasetConfig
from trainers.data.order.example_order import Draw, EvaluationOrder, TrainingOrder
from trainers.data.reading.example_source import ExampleSource
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.reader import BatchReader, RawBatch, Slice


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
        loader = RecordLoader(indexes, datasets)
        self.places = [_places(loader, number, dataset) for number, dataset in enumerate(datasets)]
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


def _places(loader: RecordLoader, number: int, dataset: DatasetConfig) -> np.ndarray:
    places = []
    for record in range(loader.indexes[number].num_records):
        content = loader.load(number, record, verify=False)
        kept = 0 if content is None else kept_captions(content, dataset)
        places += [(record, caption) for caption in range(kept)]
    return np.asarray(places, np.int64).reshape(-1, 2)


def kept_captions(content: bytes, dataset: DatasetConfig) -> int:
    """How many captions of a serialized record are not empty, and of a style and language that the
    data set keeps."""
    features = tf.train.SequenceExample.FromString(content).context.feature

    def texts(key: str) -> list[str]:
        values: Iterable[bytes] = features[dataset.feature_names.get(key, key)].bytes_list.value
        return [value.decode("utf-8", "replace") for value in values]

    captions = texts(contract.CAPTION)
    kept = [text != "" for text in captions]
    filters: Mapping[str, list[str]] = {
        contract.CAPTION_STYLE: dataset.caption_styles,
        contract.CAPTION_LANGUAGE: dataset.caption_languages,
    }
    for key, allowed in filters.items():
        found = texts(key) + [""] * len(captions)
        kept = [one and (not allowed or found[place] in allowed) for place, one in enumerate(kept)]
    return sum(kept)
