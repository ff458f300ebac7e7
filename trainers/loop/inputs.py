"""Where a stream's batches come from, and how they reach the replicas."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from trainers import distribution
from trainers.config import StreamConfig
from trainers.data.errors import as_user_error


class Inputs(Protocol):
    """What the loop asks of a data source; records are one (RecordInputs), tests bring their
    own."""

    def plan(self, input_config: Any, field: str) -> Any:
        """What will be read, as `str` shows it. Raises UserError naming `field` where it cannot."""

    def build_train_dataset(
        self,
        input_config: Any,
        *,
        seed: int,
        start_step: int,
        input_context: tf.distribute.InputContext | None,
    ) -> tf.data.Dataset:
        """Infinite batches, of one replica each, that are a function of (seed, step)."""

    def fingerprint(self, input_config: Any) -> str:
        """Hash of what defines the order and content of the batches."""

    def describe(self, example_ids: Sequence[int], input_config: Any) -> list[Any]:
        """Keys and texts of examples, for people."""


class RecordInputs:
    """Records, through trainers/data."""

    def plan(self, input_config, field) -> Any:
        """See `trainers.data.pipeline.plan`."""
        from trainers.data import pipeline

        return pipeline.plan(input_config, field)

    def build_train_dataset(self, input_config, *, seed, start_step, input_context):
        """See `trainers.data.pipeline.build_train_dataset`."""
        from trainers.data import pipeline

        return pipeline.build_train_dataset(
            input_config, seed=seed, start_step=start_step, input_context=input_context
        )

    def fingerprint(self, input_config) -> str:
        """See `trainers.data.pipeline.input_fingerprint`."""
        from trainers.data import pipeline

        return pipeline.input_fingerprint(input_config)

    def describe(self, example_ids, input_config) -> list[Any]:
        """See `trainers.data.examples.describe`."""
        from trainers.data import examples

        return examples.describe(example_ids, input_config)


class StreamOrder:
    """Which stream each step takes: a function of (seed, step) that follows the weights closely.

    Step t looks where (hash(seed) + t * 2^64 / golden ratio) mod 2^64 falls among the streams'
    shares of the range. After t steps a stream has had its share of them within O(log t), without
    any state.
    """

    _INCREMENT = np.uint64(0x9E3779B97F4A7C15)
    _CHUNK_STEPS = 1 << 20

    def __init__(self, weights: Mapping[str, float], seed: int):
        """Takes weights by stream name; streams of weight 0 never come."""
        self.names = sorted(name for name, weight in weights.items() if weight > 0)
        shares = np.cumsum([weights[name] for name in self.names], dtype=np.float64)
        scaled = shares[:-1] / shares[-1] * 2.0**64
        self._edges = np.array([int(edge) for edge in scaled], dtype=np.uint64)
        self._start = np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF])
        self._start = self._start.generate_state(1, np.uint64)[0]

    def stream(self, step: int) -> str:
        """Name of the stream of `step`."""
        return self.names[int(self._indices(step, step + 1)[0])]

    def counts(self, step: int) -> dict[str, int]:
        """How many of the steps before `step` each stream had: where its own data continues."""
        if len(self.names) == 1:
            return {self.names[0]: step}
        totals = np.zeros(len(self.names), np.int64)
        for start in range(0, step, self._CHUNK_STEPS):
            indices = self._indices(start, min(step, start + self._CHUNK_STEPS))
            totals += np.bincount(indices, minlength=len(self.names))
        return dict(zip(self.names, totals.tolist(), strict=True))

    def _indices(self, start: int, stop: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            points = self._start + np.arange(start, stop, dtype=np.uint64) * self._INCREMENT
        return np.searchsorted(self._edges, points, side="right")


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
        self._iterators: dict[str, Iterator] = {
            name: iter(_open(streams[name], inputs, strategy, seed=seed, start_step=position))
            for name, position in positions.items()
        }

    def next(self, stream: str) -> Any:
        """The stream's next batch: tensors by name, or their per-replica values.

        Raises:
            UserError: a corrupt record, where the data set's policy is to fail.
        """
        start = time.perf_counter()
        try:
            batch = next(self._iterators[stream])
        except tf.errors.OpError as error:
            mistake = as_user_error(error)
            if mistake is None:
                raise
            raise mistake from error
        self.wait_seconds += time.perf_counter() - start
        return batch


def _open(
    stream: StreamConfig,
    inputs: Inputs,
    strategy: tf.distribute.Strategy,
    *,
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
