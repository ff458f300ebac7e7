"""The examples of an evaluation: every different prompt of a record, with all its references."""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from trainers.data.config import InputConfig
from trainers.data.opening import open_indexes
from trainers.data.order.randomness import hash64
from trainers.data.parts.prompted.builder import PromptedExample
from trainers.data.parts.prompted.scene import see
from trainers.data.parts.prompted.sources import PromptedSources, open_sources
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.reader import EXAMPLE_ID_STRIDE
from trainers.data.validation import validate

_EVALUATION_PURPOSE = -5


class PromptedCatalog:
    """Examples by source and number, and by the ids of a batch.

    Examples of a record that ask the same in the same language are one, whose references are all
    their answers: five captions of a picture, or ten answers to a question. What is drawn (cuts of
    captions, absent objects) follows from the record's key alone.
    """

    def __init__(self, sources: PromptedSources, loader: RecordLoader):
        """Takes opened sources; the first question about sizes or places reads every record once,
        and raises UserError for corrupt ones where the data set's policy is to fail."""
        self._sources = sources
        self._loader = loader

    @classmethod
    def open(cls, config: InputConfig, name: str = "input") -> "PromptedCatalog":
        """The catalog of an input. Raises UserError as `trainers.data.plan.plan` does."""
        validate(config, name)
        indexes = open_indexes(config, name)
        loader = RecordLoader(indexes, list(config.datasets.values()))
        return cls(open_sources(config, indexes, name), loader)

    @functools.cached_property
    def _places(self) -> list[np.ndarray]:
        """For every source, int64[examples, 2] record number and number of the example in it."""
        places: list[list[tuple[int, int]]] = [[] for _ in self._sources.sources]
        for dataset, index in enumerate(self._loader.indexes):
            mine = [
                number
                for number, source in enumerate(self._sources.sources)
                if source.dataset == dataset
            ]
            for record in range(index.num_records if mine else 0):
                content = self._loader.load(dataset, record, verify=False)
                for source in mine if content is not None else ():
                    count = len(self.examples(source, content))
                    places[source] += [(record, item) for item in range(count)]
        return [np.asarray(each, np.int64).reshape(-1, 2) for each in places]

    @property
    def sizes(self) -> list[int]:
        """Examples of every source."""
        return [len(each) for each in self._places]

    def place(self, source: int, ordinal: int) -> tuple[int, int]:
        """Record number, and number of the example in it, of a source's n-th example."""
        record, item = self._places[source][ordinal].tolist()
        return record, item

    def examples(self, source: int, content: bytes) -> list[PromptedExample]:
        """All examples that a source makes of a record."""
        place = self._sources.sources[source]
        facts = self._sources.facts(place, content)
        scene = see(facts, self._sources.frames(facts, 0.0, training=False))
        builder, filters = self._sources.builders[place.task], self._sources.filters[place.dataset]
        found: dict[tuple[str, str, str], PromptedExample] = {}
        key = np.frombuffer(facts.key.encode().ljust(8, b"\0")[-8:], np.uint64)
        for number, option in enumerate(builder.options(facts, scene, filters)):
            seed = int(hash64(_EVALUATION_PURPOSE, key, number)[0])
            random = np.random.Generator(np.random.Philox(key=seed))
            example = builder.build(facts, scene, filters, option, random)
            same = (example.language, example.kind, example.prompt)
            if same in found:
                references = found[same].references + example.references
                example = dataclasses.replace(found[same], references=references)
            found[same] = example
        return list(found.values())

    def describe(
        self, example_ids: Iterable[int], tasks: Iterable[int], items: Iterable[int]
    ) -> list[PromptedExample | None]:
        """The words behind rows of an evaluation batch; None for padding.

        Args:
            example_ids: `example_id` of the batch.
            tasks: `task` of the batch.
            items: `example_item` of the batch.
        """
        return [
            None if example_id < 0 else self._describe(int(example_id), int(task), int(item))
            for example_id, task, item in zip(example_ids, tasks, items, strict=True)
        ]

    def _describe(self, example_id: int, task: int, item: int) -> PromptedExample:
        dataset, number = divmod(example_id, EXAMPLE_ID_STRIDE)
        (source,) = (
            place
            for place, each in enumerate(self._sources.sources)
            if (each.task, each.dataset) == (task, dataset)
        )
        return self.examples(source, self._loader.indexes[dataset].read_one(number))[item]
