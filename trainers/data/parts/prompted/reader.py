"""Reads prompted batches: records, and the words that the tasks make of them."""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainers.data import draw_columns
from trainers.data.order.example_order import EvaluationOrder, TrainingOrder
from trainers.data.order.randomness import example_draws, example_seeds, hash64
from trainers.data.parts.prompted.builder import PromptedExample
from trainers.data.parts.prompted.catalog import PromptedCatalog
from trainers.data.parts.prompted.scene import see
from trainers.data.parts.prompted.sources import PromptedSources
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.reader import EXAMPLE_ID_STRIDE, PADDING_ID, RawBatch, Slice

# Keeps the draws of prompts apart from others of the same seed.
_PROMPT_PURPOSE = -4
_SEVERAL = -1


class RawPrompts(NamedTuple):
    """Texts of a prompted batch, before they are tokenised.

    Attributes:
        inputs, targets: bytes[batch, examples of a row]; both empty where there is no example.
        task: int32[batch] place of the task in the configuration.
        language: int32[batch] place of the language in the configuration, -1 where a row holds
            several.
        item: int32[batch] number of the example among those of its record; -1 in training.
    """

    inputs: np.ndarray | tf.Tensor
    targets: np.ndarray | tf.Tensor
    task: np.ndarray | tf.Tensor
    language: np.ndarray | tf.Tensor
    item: np.ndarray | tf.Tensor


@dataclasses.dataclass(frozen=True)
class _Found:
    """An example, the record it is of, and what decides the record's frames."""

    number: int
    content: bytes
    example: PromptedExample
    item: int
    time_draw: float


class PromptBatchReader:
    """Reads the examples that an order over sources (see `sources.py`) names.

    A record that lacks what its task needs is replaced, as a corrupt one is, by the next one of
    the order, so that every batch remains a function of (seed, step).
    """

    def __init__(
        self,
        sources: PromptedSources,
        loader: RecordLoader,
        order: TrainingOrder | EvaluationOrder,
        host_slice: Slice,
        seed: int,
        catalog: PromptedCatalog | None = None,
    ):
        """Takes opened sources and the order to read them in; a catalog evaluates."""
        self._sources = sources
        self._loader = loader
        self._order = order
        self._slice = host_slice
        self._seed = seed
        self._catalog = catalog
        self._examples_per_row = sources.config.prompted.examples_per_row
        languages = sources.config.prompted.languages
        self._language_numbers = {code: place for place, code in enumerate(languages)}

    def read(self, element: int, verify: bool = False) -> RawBatch:
        """Reads the host's n-th element; as `trainers.data.reading.reader.BatchReader.read`."""
        step, positions = self._slice.place(int(element))
        draw = self._order.draw(step, positions)
        draws = example_draws(self._seed, step, positions, draw_columns.COUNT)
        rows: list[list[_Found]] = [[] for _ in positions]
        for source in range(len(self._sources.sources)):
            mine = np.flatnonzero(draw.dataset == source)
            if self._catalog is not None:
                found = self._evaluated(source, draw.ordinal[mine], verify)
            else:
                keys = hash64(self._seed, _PROMPT_PURPOSE, step, positions[mine])
                times = draws[mine, draw_columns.VIDEO_TIME]
                found = self._drawn(source, draw.ordinal[mine], keys, times, verify)
            for row, each in zip(mine.tolist(), found, strict=True):
                rows[row] = each
                draws[row, draw_columns.VIDEO_TIME] = each[0].time_draw
        return RawBatch(
            self._contents(rows),
            self._datasets(draw.dataset),
            self._ids(draw.dataset, rows),
            draws,
            example_seeds(self._seed, step, positions),
            self._prompts(draw.dataset, rows),
        )

    def _drawn(
        self, source: int, ordinals: np.ndarray, keys: np.ndarray, times: np.ndarray, verify: bool
    ) -> list[list[_Found]]:
        """The examples of rows of one source, in training."""
        count = self._examples_per_row
        ordinals = ordinals[:, np.newaxis] * count + np.arange(count)
        numbers = self._order.record(source, ordinals.ravel()).reshape(ordinals.shape)
        keys = hash64(keys[:, np.newaxis], np.arange(count))
        return [
            [
                self._draw_one(source, ordinal, number, int(key), float(time), verify)
                for ordinal, number, key in zip(*columns, strict=True)
            ]
            for *columns, time in zip(ordinals.tolist(), numbers.tolist(), keys, times, strict=True)
        ]

    def _draw_one(
        self, source: int, ordinal: int, number: int, key: int, time_draw: float, verify: bool
    ) -> _Found:
        """An example of the record at an ordinal, or of the next one of the order that has any."""
        place = self._sources.sources[source]
        builder = self._sources.builders[place.task]
        for shift in range(self._loader.indexes[place.dataset].num_records):
            if shift:
                number = int(self._order.record(source, np.asarray([ordinal]), shift)[0])
                # Other frames too: in all clips alike, the first ones may show nothing.
                time_draw = float(example_draws(key, shift, np.zeros(1), 1)[0, 0])
            content = self._loader.load(place.dataset, number, verify=verify)
            if content is None:
                continue
            facts = self._sources.facts(place, content)
            scene = see(facts, self._sources.frames(facts, time_draw, training=True))
            random = np.random.Generator(np.random.Philox(key=key))
            example = builder.draw(facts, scene, self._sources.filters[place.dataset], random)
            if example is not None:
                return _Found(number, content, example, -1, time_draw)
        raise self._loader.none_left(
            place.dataset, f"has what task {builder.name} needs; leave the data set out of it"
        )

    def _evaluated(self, source: int, ordinals: np.ndarray, verify: bool) -> list[list[_Found]]:
        """The examples of rows of one source, in evaluation; those of one record stand together."""
        dataset = self._sources.sources[source].dataset
        read: dict[int, tuple[bytes, list[PromptedExample]]] = {}
        rows = []
        for ordinal in ordinals.tolist():
            number, item = self._catalog.place(source, ordinal)
            if number not in read:
                content = self._loader.load(dataset, number, verify=verify)
                if content is None:
                    # It was whole when the catalog was made; its frames are not.
                    raise self._loader.none_left(
                        dataset,
                        f"stands in for number {number}, which is damaged; preprocess again",
                    )
                read[number] = content, self._catalog.examples(source, content)
            content, examples = read[number]
            rows.append([_Found(number, content, examples[item], item, 0.0)])
        return rows

    def _contents(self, rows: list[list[_Found]]) -> np.ndarray:
        serialized = np.empty(len(rows), object)
        serialized[:] = b""
        if not self._loader.decodes:
            return serialized
        for row, found in enumerate(rows):
            if found:
                serialized[row] = found[0].content
        return serialized

    def _datasets(self, sources: np.ndarray) -> np.ndarray:
        datasets = np.array([source.dataset for source in self._sources.sources], np.int32)
        return np.where(sources >= 0, datasets[sources], -1).astype(np.int32)

    def _ids(self, sources: np.ndarray, rows: list[list[_Found]]) -> np.ndarray:
        ids = np.full(len(rows), PADDING_ID, np.int64)
        for row, (dataset, found) in enumerate(zip(self._datasets(sources), rows, strict=True)):
            if found:
                ids[row] = int(dataset) * EXAMPLE_ID_STRIDE + found[0].number
        return ids

    def _prompts(self, sources: np.ndarray, rows: list[list[_Found]]) -> RawPrompts:
        shape = (len(rows), self._examples_per_row)
        inputs, targets = np.empty(shape, object), np.empty(shape, object)
        inputs[:], targets[:] = b"", b""
        language = np.zeros(len(rows), np.int32)
        item = np.full(len(rows), -1, np.int32)
        for row, found in enumerate(rows):
            for place, each in enumerate(found):
                inputs[row, place] = each.example.prompt.encode()
                targets[row, place] = each.example.references[0].encode()
            spoken = {self._language_numbers[each.example.language] for each in found}
            if found:
                language[row] = spoken.pop() if len(spoken) == 1 else _SEVERAL
                item[row] = found[0].item
        tasks = np.array([source.task for source in self._sources.sources], np.int32)
        task = np.where(sources >= 0, tasks[sources], 0).astype(np.int32)
        return RawPrompts(inputs, targets, task, language, item)
