"""The examples of an evaluation: every different phrase of every record, once."""

import dataclasses
import functools

import numpy as np

from mm_models.errors import UserError
from trainers.data.config import InputConfig
from trainers.data.opening import open_indexes
from trainers.data.parts.phrases.record_phrases import RecordPhrase, boxes_in, record_phrases
from trainers.data.parts.record_facts import RecordFacts, read_facts
from trainers.data.parts.sampling import sampled_frames
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.reader import EXAMPLE_ID_STRIDE
from trainers.data.validation import validate


@dataclasses.dataclass(frozen=True)
class DescribedRecord:
    """What is known of a record whose phrases are evaluated.

    Attributes:
        facts: of the record.
        frames: int64[frames] the stored frames that a batch shows.
        phrases: the different ones, in the order of the examples.
    """

    facts: RecordFacts
    frames: np.ndarray
    phrases: list[RecordPhrase]

    def boxes(self, phrase: RecordPhrase) -> np.ndarray:
        """float32[frames, objects, 4] of a phrase; see `boxes_in`."""
        return boxes_in(self.facts, self.frames, phrase.objects)

    @property
    def object_boxes(self) -> np.ndarray:
        """float32[frames, objects, 4] of every object that some frame of the clip has."""
        return boxes_in(self.facts, self.frames, range(len(self.facts.objects)))


class PhraseCatalog:
    """Phrases by data set and number, and by the ids of a batch."""

    def __init__(self, config: InputConfig, loader: RecordLoader, name: str = "input"):
        """Takes a validated input and what reads its records; the first question about sizes or
        places reads each of them once.

        Raises UserError then for corrupt ones where the data set's policy is to fail, for phrases
        with too many objects, and for a data set without any phrase.
        """
        self._config = config
        self._loader = loader
        self._name = name
        self._names = [dict(dataset.feature_names) for dataset in config.datasets.values()]
        # Neighbouring examples are of the same record.
        self._cached = functools.lru_cache(maxsize=8)(self._read)

    @classmethod
    def open(cls, config: InputConfig, name: str = "input") -> "PhraseCatalog":
        """The catalog of an input. Raises UserError as `trainers.data.plan.plan` does."""
        validate(config, name)
        loader = RecordLoader(open_indexes(config, name), list(config.datasets.values()))
        return cls(config, loader, name)

    @functools.cached_property
    def _places(self) -> list[np.ndarray]:
        """For every data set, int64[phrases, 2] record number and number of the phrase in it."""
        found, datasets = [], list(self._config.datasets.values())
        for dataset, index in enumerate(self._loader.indexes):
            places = []
            for number in range(index.num_records):
                content = self._loader.load(dataset, number, verify=False)
                if content is not None:
                    described = self.describe_content(dataset, content)
                    self._check_boxes(described)
                    places += [(number, item) for item in range(len(described.phrases))]
            if not places and "phrases" not in datasets[dataset].may_lack:
                raise UserError(self._none(dataset))
            found.append(np.array(places, np.int64).reshape(-1, 2))
        return found

    @property
    def sizes(self) -> list[int]:
        """Phrases of every data set."""
        return [len(each) for each in self._places]

    def place(self, dataset: int, ordinal: int) -> tuple[int, int]:
        """Record number, and number of the phrase in it, of a data set's n-th example."""
        record, item = self._places[dataset][ordinal].tolist()
        return record, item

    def describe_content(self, dataset: int, content: bytes) -> DescribedRecord:
        """What is known of a serialized record of a data set."""
        facts = read_facts(content, self._names[dataset])
        frames = sampled_frames(self._config.video, facts.num_frames, 0.0, training=False)
        return DescribedRecord(facts, frames, record_phrases(facts, self._config.phrases.languages))

    def record(self, example_id: int) -> DescribedRecord:
        """The record behind a row of an evaluation batch that is no padding, by `example_id`.

        The phrase of the row is the one whose number its `example_item` is.
        """
        return self._cached(*divmod(int(example_id), EXAMPLE_ID_STRIDE))

    def _read(self, dataset: int, number: int) -> DescribedRecord:
        content = self._loader.indexes[dataset].read_one(number)
        return self.describe_content(dataset, content)

    def _check_boxes(self, described: DescribedRecord) -> None:
        most = self._config.phrases.max_boxes
        for phrase in described.phrases:
            count = described.boxes(phrase).shape[1]
            if count > most:
                raise UserError(
                    f"{self._name}.phrases.max_boxes is {most}, but {phrase.text!r} of record "
                    f"{described.facts.key!r} has {count} objects with boxes; make it larger"
                )

    def _none(self, dataset: int) -> str:
        config = list(self._config.datasets.values())[dataset]
        languages = self._config.phrases.languages
        kept = f" in {', '.join(languages)}" if languages else ""
        return (
            f"{self._name}.phrases.each takes phrases of objects, and no record of {config.path} "
            f"({config.split}) has one{kept}; preprocess data with phrases"
            + (f", or change {self._name}.phrases.languages" if languages else "")
        )
