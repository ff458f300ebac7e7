"""Examples that are phrases instead of records, and what reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainers.data import draw_columns
from trainers.data.config import InputConfig
from trainers.data.order.example_order import EvaluationOrder, TrainingOrder
from trainers.data.order.randomness import example_draws, example_seeds
from trainers.data.parts.phrases.catalog import DescribedRecord, PhraseCatalog
from trainers.data.reading.example_source import ExampleSource, RecordSource
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.reader import EXAMPLE_ID_STRIDE, PADDING_ID, RawBatch, Slice


class RawPhrases(NamedTuple):
    """Phrases of a batch before they are encoded.

    Attributes:
        sentences: bytes[batch] what is encoded; empty for padding.
        spans: int32[batch, 2] place of the phrase's first word, and how many words it has.
        boxes_yxyx_norm: float32[batch, frames, max_boxes, 4], zeros where there is none.
        box_count: int32[batch] objects of the phrase that some frame of the clip has.
        item: int32[batch] number of the phrase among the different ones of its record; -1 for
            padding.
    """

    sentences: np.ndarray | tf.Tensor
    spans: np.ndarray | tf.Tensor
    boxes_yxyx_norm: np.ndarray | tf.Tensor
    box_count: np.ndarray | tf.Tensor
    item: np.ndarray | tf.Tensor

    @classmethod
    def specs(cls, inputs: InputConfig, rows: int) -> Any:
        """What each holds: RawPhrases of `tf.TensorSpec`s."""
        boxes = [rows, inputs.video.num_frames, inputs.phrases.max_boxes, 4]
        numbers = tf.TensorSpec([rows], tf.int32)
        return cls(
            tf.TensorSpec([rows], tf.string),
            tf.TensorSpec([rows, 2], tf.int32),
            tf.TensorSpec(boxes, tf.float32),
            numbers,
            numbers,
        )

    @classmethod
    def empty(cls, inputs: InputConfig, rows: int) -> "RawPhrases":
        """Padding alone, as arrays to be filled in."""
        shapes = cls.specs(inputs, rows)
        sentences = np.full(rows, b"", object)
        others = [np.zeros(spec.shape.as_list(), spec.dtype.as_numpy_dtype) for spec in shapes[1:]]
        found = cls(sentences, *others)
        found.item[:] = -1
        return found

    def put(self, row: int, described: DescribedRecord, item: int) -> None:
        """Writes a phrase of a record into a row of arrays."""
        phrase = described.phrases[item]
        boxes = described.boxes(phrase)
        self.sentences[row] = phrase.sentence.encode()
        self.spans[row] = phrase.span
        self.boxes_yxyx_norm[row, :, : boxes.shape[1]] = boxes
        self.box_count[row] = boxes.shape[1]
        self.item[row] = item


class PhraseReader:
    """Reads the phrases that an order over those of the data sets names."""

    def __init__(
        self,
        catalog: PhraseCatalog,
        inputs: InputConfig,
        loader: RecordLoader,
        order: TrainingOrder | EvaluationOrder,
        host_slice: Slice,
        seed: int,
    ):
        """Takes the catalog of an input and the order to read it in."""
        self._catalog = catalog
        self._inputs = inputs
        self._loader = loader
        self._order = order
        self._slice = host_slice
        self._seed = seed

    def read(self, element: int, verify: bool = False) -> RawBatch:
        """Reads the host's n-th element; as `trainers.data.reading.reader.BatchReader.read`."""
        step, positions = self._slice.place(int(element))
        draw = self._order.draw(step, positions)
        rows = len(positions)
        serialized = np.full(rows, b"", object)
        example_id = np.full(rows, PADDING_ID, np.int64)
        phrases = RawPhrases.empty(self._inputs, rows)
        read: dict[tuple[int, int], tuple[bytes, DescribedRecord]] = {}
        for row in np.flatnonzero(draw.dataset >= 0).tolist():
            dataset = int(draw.dataset[row])
            number, item = self._catalog.place(dataset, int(draw.ordinal[row]))
            if (dataset, number) not in read:
                content = self._content(dataset, number, verify)
                described = self._catalog.describe_content(dataset, content)
                read[dataset, number] = content, described
            serialized[row], described = read[dataset, number]
            example_id[row] = dataset * EXAMPLE_ID_STRIDE + number
            phrases.put(row, described, item)
        return RawBatch(
            serialized,
            draw.dataset.astype(np.int32),
            example_id,
            example_draws(self._seed, step, positions, draw_columns.COUNT),
            example_seeds(self._seed, step, positions),
            phrases,
        )

    def _content(self, dataset: int, number: int, verify: bool) -> bytes:
        content = self._loader.load(dataset, number, verify=verify)
        if content is None:
            # It was whole when the catalog was made; its frames are not.
            raise self._loader.none_left(
                dataset, f"stands in for number {number}, which is damaged; preprocess again"
            )
        return content


class PhraseExamples(ExampleSource):
    """Every different phrase of every record once; for evaluation."""

    def __init__(self, inputs: InputConfig, indexes: Sequence[RecordIndex], name: str):
        """Takes an opened input and where it stands in the experiment; reads every record once."""
        datasets = list(inputs.datasets.values())
        records = RecordSource(list(indexes), datasets)
        self._inputs = inputs
        self._catalog = PhraseCatalog(inputs, RecordLoader(list(indexes), datasets), name)
        self.sizes = self._catalog.sizes
        self.weights = records.weights
        self.dataset_shares = records.dataset_shares

    def reader(self, loader, order, host_slice, seed) -> PhraseReader:
        """Reads records and their phrases."""
        return PhraseReader(self._catalog, self._inputs, loader, order, host_slice, seed)

    def extra_specs(self, batch_size: int) -> Any:
        """The phrase of each row."""
        return RawPhrases.specs(self._inputs, batch_size)
