"""Where a stream's batches come from, and how they reach the replicas."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from trainers import distribution
from trainers.config.schema import StreamConfig
from trainers.data import examples, pipeline
from trainers.data.first_batch import check_input
from trainers.data.plan import input_contents, plan
from trainers.data.reading.errors import user_errors
from trainers.tasks.base import Task


class Inputs(Protocol):
    """What the loop asks of a data source; records are one (RecordInputs), tests bring their
    own."""

    def plan(self, input_config: Any, name: str) -> Any:
        """What will be read, as `str` shows it. Raises UserError naming `name` where it cannot."""

    def build_train_dataset(
        self,
        input_config: Any,
        *,
        seed: int,
        start_step: int,
        input_context: tf.distribute.InputContext | None,
    ) -> tf.data.Dataset:
        """Infinite batches, of one replica each, that are a function of (seed, step)."""

    def contents(self, input_config: Any) -> Mapping[str, str]:
        """What the data sets hold, by name; with the config, what defines the order of batches."""

    def check(self, input_config: Any, name: str, *, seed: int, num_classes: int) -> list[str]:
        """What the first records and the first training batch hold, as lines for people.

        Raises UserError naming `name` where nothing can be learned from them.
        """

    def describe(self, example_ids: Sequence[int], input_config: Any) -> list[Any]:
        """Keys and texts of examples, for people."""


class RecordInputs:
    """Records, through the functions of trainers/data."""

    plan = staticmethod(plan)
    build_train_dataset = staticmethod(pipeline.build_train_dataset)
    contents = staticmethod(input_contents)
    check = staticmethod(check_input)
    describe = staticmethod(examples.describe)


def data_seeds(streams: Mapping[str, StreamConfig], seed: int) -> dict[str, int]:
    """What each stream's order of examples derives from, by name.

    Streams that read the same data sets would otherwise take the same examples at the same
    positions, most of all where every step takes a batch of each. The first of them by name keeps
    the experiment's seed.
    """
    readers: dict[tuple[str, ...], int] = {}
    seeds = {}
    for name in sorted(streams):
        paths = tuple(sorted(each.path for each in streams[name].input.datasets.values()))
        number = readers.get(paths, 0)
        readers[paths] = number + 1
        words = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, number]
        seeds[name] = int(np.random.SeedSequence(words).generate_state(1)[0]) if number else seed
    return seeds


def check_first_batches(
    inputs: Inputs, task: Task, streams: Mapping[str, StreamConfig], seed: int
) -> dict[str, list[str]]:
    """Looks at the first records and the first batch of every stream, as `Inputs.check` does.

    Returns:
        Lines for people by the input's field.
    """
    seeds, found = data_seeds(streams, seed), {}
    for name, stream in streams.items():
        field = f"streams.{name}.input"
        found[field] = inputs.check(
            stream.input, field, seed=seeds[name], num_classes=task.num_classes(name)
        )
    return found


class StreamReader:
    """The iterators of all streams, each opened at its own position.

    Attributes:
        wait_seconds: time spent waiting for batches, in all.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamConfig],
        inputs: Inputs,
        strategy: tf.distribute.Strategy,
        *,
        seed: int,
        positions: Mapping[str, int],
    ):
        """Opens every stream that has a position; reading starts with the first `next`."""
        self.wait_seconds = 0.0
        seeds = data_seeds(streams, seed)
        self._iterators = {
            name: iter(_open(streams[name], inputs, strategy, seeds[name], position))
            for name, position in positions.items()
        }

    def next(self, stream: str) -> Any:
        """The stream's next batch: tensors by name, or their per-replica values.

        Raises:
            UserError: a corrupt record, where the data set's policy is to fail.
        """
        start = time.perf_counter()
        with user_errors():
            batch = next(self._iterators[stream])
        self.wait_seconds += time.perf_counter() - start
        return batch


def _open(
    stream: StreamConfig,
    inputs: Inputs,
    strategy: tf.distribute.Strategy,
    seed: int,
    start_step: int,
) -> Any:
    def build(context: tf.distribute.InputContext | None) -> tf.data.Dataset:
        return inputs.build_train_dataset(
            stream.input, seed=seed, start_step=start_step, input_context=context
        )

    if distribution.is_single(strategy):
        return build(None)
    return strategy.distribute_datasets_from_function(build)
