"""Prompts and answers of an example, of the tasks that an input mixes."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from trainers.data.config import InputConfig
from trainers.data.parts.base import InputPart, Parsed, Prepared
from trainers.data.parts.prompted.catalog import PromptedCatalog
from trainers.data.parts.prompted.config import PromptedInputConfig
from trainers.data.parts.prompted.measure import PromptedPlan, measure
from trainers.data.parts.prompted.processing import PromptProcessor
from trainers.data.parts.prompted.reader import PromptBatchReader, RawPrompts
from trainers.data.parts.prompted.sources import PromptedSources, open_sources
from trainers.data.parts.prompted.validation import validate_prompted
from trainers.data.reading.example_source import ExampleSource, Reader
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch


class PromptedPart(InputPart):
    """`inputs`, `targets` and what goes with them (see `PromptProcessor`); brings the examples."""

    config: PromptedInputConfig
    # Words are read outside the graph.
    wanted = Wanted()

    def validate(self) -> None:
        """Checks every field, and that the rest of the input goes with it."""
        validate_prompted(self.inputs, self.input_field)

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """Ids of both sides, and what says of what task and language they are."""
        rows = tf.TensorSpec([batch_size], tf.int32)
        specs = dict.fromkeys(("task", "language", "example_item"), rows)
        sizes = {"input": self.config.num_input_tokens, "target": self.config.num_target_tokens}
        for name, size in sizes.items():
            ids = tf.TensorSpec([batch_size, size], tf.int32)
            specs[f"{name}s"] = ids
            if self.config.examples_per_row > 1:
                specs |= dict.fromkeys((f"{name}_segments", f"{name}_positions"), ids)
        return specs

    def open(self, indexes: Sequence[RecordIndex], *, seed: int, training: bool) -> None:
        """Opens templates and tokenizer, and looks whether the records have what tasks need."""
        super().open(indexes, seed=seed, training=training)
        self._indexes = list(indexes)
        self._sources = open_sources(self.inputs, self._indexes, self.input_field)
        self._process = PromptProcessor(
            self.config, self._sources.templates, self._sources.tokenizer
        )

    def example_source(self) -> ExampleSource:
        """The tasks' parts of the data sets."""
        return PromptedExamples(self.inputs, self._sources, self._indexes, self.training)

    def plan(self) -> PromptedPlan:
        """How full the rows are."""
        return measure(self._sources, self._indexes)

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """Tokenises, corrupts and packs the words."""
        return Prepared(self._process(raw.extra, raw.seeds))

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """Rows without words."""
        empty = [side for side in ("inputs", "targets") if not batch[side].any()]
        if not empty:
            return []
        return [
            f"the {' and '.join(empty)} of the first rows have no ids; look at the templates "
            f"{self.config.templates} and at the records"
        ]

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How many ids are in use, and how many tasks there are."""
        rows = batch["example_mask"] > 0
        return {
            "input ids in use": float((batch["inputs"][rows] != 0).mean()),
            "target ids in use": float((batch["targets"][rows] != 0).mean()),
            "rows without a target": float((batch["targets"][rows] == 0).all(axis=1).mean()),
            "different tasks": float(len(np.unique(batch["task"][rows]))),
        }


class PromptedExamples(ExampleSource):
    """Examples of every task and data set; in evaluation, every different prompt once."""

    def __init__(
        self,
        inputs: InputConfig,
        sources: PromptedSources,
        indexes: list[RecordIndex],
        training: bool,
    ):
        """Takes an opened input."""
        self._sources = sources
        self._catalog = None
        self._config = inputs.prompted
        self.records_per_row = self._config.examples_per_row
        self.sizes = [source.num_records for source in sources.sources]
        if not training:
            loader = RecordLoader(indexes, list(inputs.datasets.values()))
            self._catalog = PromptedCatalog(sources, loader)
            self.sizes = self._catalog.sizes
        self.weights = [source.weight for source in sources.sources]
        self.dataset_shares = [0.0] * len(indexes)
        for source in sources.sources:
            self.dataset_shares[source.dataset] += source.weight

    def reader(self, loader, order, host_slice, seed) -> Reader:
        """Reads records and makes prompts of them."""
        return PromptBatchReader(self._sources, loader, order, host_slice, seed, self._catalog)

    def extra_specs(self, batch_size: int) -> RawPrompts:
        """The words of each row."""
        texts = tf.TensorSpec([batch_size, self._config.examples_per_row], tf.string)
        numbers = tf.TensorSpec([batch_size], tf.int32)
        return RawPrompts(texts, texts, numbers, numbers, numbers)
