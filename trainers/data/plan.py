"""What a stream will read, in words, and what its data sets hold."""

import dataclasses
import hashlib
import json
from typing import Any

from trainers.data.config import InputConfig
from trainers.data.opening import OpenedInput, open_indexes
from trainers.data.parts.base import batch_specs
from trainers.data.validation import validate


@dataclasses.dataclass(frozen=True)
class DatasetPlan:
    """One data set of a stream.

    Attributes:
        name, path, split: as configured.
        num_records, num_shards: what is read.
        share: share of the stream's examples.
        steps_per_epoch: steps until each of its records was read once.
    """

    name: str
    path: str
    split: str
    num_records: int
    num_shards: int
    share: float
    steps_per_epoch: float


@dataclasses.dataclass(frozen=True)
class DataPlan:
    """What a stream reads; `str` gives it as lines of text.

    Attributes:
        datasets: one entry per data set.
        batch_size: global batch size.
        shapes: tensor name to the shape and dtype of one global batch.
        batch_bytes: size of one global batch.
        parts: what the parts of the input have to tell, by their names.
    """

    datasets: list[DatasetPlan]
    batch_size: int
    shapes: dict[str, str]
    batch_bytes: int
    parts: dict[str, Any]

    def __str__(self) -> str:
        """A line per data set and per tensor."""
        lines = [
            f"data set {each.name}: {each.num_records:,} records in {each.num_shards} shards of "
            f"{each.path} ({each.split}), {each.share:.1%} of the examples, "
            f"{each.steps_per_epoch:,.1f} steps per epoch"
            for each in self.datasets
        ]
        lines += [f"  {name}: {shape}" for name, shape in self.shapes.items()]
        lines.append(f"  batch of {self.batch_size}: {self.batch_bytes / 2**20:,.1f} MiB")
        return "\n".join([*lines, *map(str, self.parts.values())])


def plan(input_config: InputConfig, name: str = "input") -> DataPlan:
    """Opens everything a stream needs and says what it will read. Writes nothing.

    Args:
        input_config: one stream's or evaluator's input.
        name: where it stands in the experiment's configuration, for messages.

    Raises:
        UserError: a wrong field, a missing or empty split, a vocabulary that cannot be read, a
            wrong sample rate, frames too small.
    """
    opened = OpenedInput.open(input_config, name)
    specs = batch_specs(input_config)
    plans = {part: each.plan() for part, each in opened.parts.items()}
    return DataPlan(
        datasets=_dataset_plans(opened),
        batch_size=input_config.batch_size,
        shapes={key: f"{spec.dtype.name}{spec.shape.as_list()}" for key, spec in specs.items()},
        batch_bytes=sum(spec.shape.num_elements() * spec.dtype.size for spec in specs.values()),
        parts={part: each for part, each in plans.items() if each is not None},
    )


def input_contents(input_config: InputConfig) -> dict[str, str]:
    """What the data sets hold, by name, in words with a hash; with an equal config, equal ones have
    the same order of examples.

    It covers the shards, by file names and sizes: folders may move.

    Raises:
        UserError: as `plan` does.
    """
    validate(input_config)
    contents = {}
    for name, index in zip(input_config.datasets, open_indexes(input_config), strict=True):
        digest = hashlib.sha256(json.dumps(index.contents).encode()).hexdigest()[:16]
        contents[name] = f"{index.num_records} records in {len(index.shards)} shards, {digest}"
    return contents


def _dataset_plans(opened: OpenedInput) -> list[DatasetPlan]:
    source = opened.source
    records = opened.config.batch_size * source.records_per_row
    named = zip(opened.config.datasets.items(), opened.indexes, source.dataset_shares, strict=True)
    plans = []
    for (name, dataset), index, share in named:
        sizes = (index.num_records, len(index.shards))
        steps = index.num_records / (records * share) if share else float("inf")
        plans.append(DatasetPlan(name, dataset.path, dataset.split, *sizes, share, steps))
    return plans
