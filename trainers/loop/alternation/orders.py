"""Which stream a step takes, as a function of (seed, step)."""

import abc
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trainers.data.order.randomness import GOLDEN, splitmix

_CHUNK_STEPS = 1 << 20
# The streams of each of several consecutive steps.
Block = tuple[tuple[str, ...], ...]


class StreamOrder(abc.ABC):
    """The streams of every step, and how many batches each of them has given before a step.

    Attributes:
        names: streams that take part.
        weights: float64[names] how many of the steps each has, relative to the others.
        refresh_steps: steps between looks at the losses; 0 where an order never looks.
    """

    refresh_steps = 0

    def __init__(self, weights: Mapping[str, float]):
        """Takes weights by stream name; streams of weight 0 never come."""
        self.names = [name for name, weight in weights.items() if weight > 0]
        self.weights = np.array([weights[name] for name in self.names], np.float64)

    @property
    def shares(self) -> np.ndarray:
        """float64[names] part of the steps that each stream has."""
        return self.weights / self.weights.sum()

    @abc.abstractmethod
    def streams(self, step: int) -> tuple[str, ...]:
        """Names of the streams that `step` takes a batch of; one, unless losses are summed."""

    @abc.abstractmethod
    def counts(self, step: int) -> dict[str, int]:
        """How many of the steps before `step` each stream had: where its own data continues."""

    @abc.abstractmethod
    def blocks(self, start: int, stop: int, size: int) -> Iterator[Block]:
        """The runs of `size` consecutive steps that begin at multiples of `size`, each kind once.

        Args:
            start, stop: steps that are looked at.
            size: steps in a run.

        Yields:
            One tuple of `streams(step)` for each distinct run, in the same sequence in every
            process. Of an order that follows losses, every run that may come.
        """

    def observe(self, stream: str, loss: float) -> None:  # noqa: B027
        """Takes note of a step's mean loss, where the order follows losses."""

    def refresh(self, step: int) -> None:  # noqa: B027
        """Lets the order follow what it has observed; called before the steps from `step` on."""

    @property
    def state(self) -> dict[str, Any]:
        """What (seed, step) does not tell, as JSON keeps it."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Goes on from `state`."""


class AlternatingOrder(StreamOrder):
    """One stream a step."""

    @abc.abstractmethod
    def indices(self, start: int, stop: int) -> np.ndarray:
        """int[stop - start] position among `names` of each step's stream."""

    def streams(self, step: int) -> tuple[str, ...]:
        return (self.names[int(self.indices(step, step + 1)[0])],)

    def counts(self, step: int) -> dict[str, int]:
        totals = np.zeros(len(self.names), np.int64)
        if len(self.names) == 1:
            return {self.names[0]: step}
        for start in range(0, step, _CHUNK_STEPS):
            indices = self.indices(start, min(step, start + _CHUNK_STEPS))
            totals += np.bincount(indices, minlength=len(self.names))
        return dict(zip(self.names, totals.tolist(), strict=True))

    def blocks(self, start: int, stop: int, size: int) -> Iterator[Block]:
        first, last = -(-start // size) * size, stop // size * size
        seen: set[tuple[int, ...]] = set()
        chunk = _CHUNK_STEPS // size * size
        for at in range(first, last, chunk):
            rows = self.indices(at, min(last, at + chunk)).reshape(-1, size)
            for row in map(tuple, np.unique(rows, axis=0).tolist()):
                if row not in seen:
                    seen.add(row)
                    yield tuple((self.names[index],) for index in row)


class ProportionalOrder(AlternatingOrder):
    """Follows the shares as closely as whole steps can.

    Step t looks where (hash(seed) + t * 2^64 / golden ratio) mod 2^64 falls among the streams'
    shares of the range. After t steps a stream has had its share of them within O(log t), without
    any state.
    """

    def __init__(self, weights: Mapping[str, float], seed: int):
        """Takes weights by stream name; the order of the names does not matter."""
        super().__init__({name: weights[name] for name in sorted(weights)})
        # Where the points of an experiment's steps begin.
        sequence = np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF])
        self._start = sequence.generate_state(1, np.uint64)[0]

    def indices(self, start: int, stop: int) -> np.ndarray:
        return np.searchsorted(self._edges(), self._points(start, stop), side="right")

    def _points(self, start: int, stop: int) -> np.ndarray:
        """uint64[stop - start] point of each step."""
        with np.errstate(over="ignore"):
            return self._start + np.arange(start, stop, dtype=np.uint64) * GOLDEN

    def _edges(self) -> np.ndarray:
        """uint64[names - 1] ends of the streams' parts of the range."""
        ends = np.cumsum(self.weights)
        scaled = ends[:-1] / ends[-1] * 2.0**64
        return np.array([int(edge) for edge in scaled], dtype=np.uint64)


class RandomOrder(ProportionalOrder):
    """Independent draws: the point of step t is a hash of (seed, t)."""

    def _points(self, start: int, stop: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            # The generator counts on before it hashes.
            return splitmix(super()._points(start, stop) - GOLDEN)


class EveryStream(StreamOrder):
    """Every step takes a batch of every stream, for losses that are summed."""

    def __init__(self, weights: Mapping[str, float]):
        """Takes weights by stream name; the order of the names does not matter."""
        super().__init__({name: weights[name] for name in sorted(weights)})

    @property
    def shares(self) -> np.ndarray:
        return np.ones(len(self.names))

    def streams(self, step: int) -> tuple[str, ...]:
        return tuple(self.names)

    def counts(self, step: int) -> dict[str, int]:
        return dict.fromkeys(self.names, step)

    def blocks(self, start: int, stop: int, size: int) -> Iterator[Block]:
        yield (tuple(self.names),) * size


class IntervalOrder(AlternatingOrder):
    """Passes over the streams in the order of the config; a stream comes every so many passes.

    Each stream counts its passes from 1, under its own name, also where two read one data set. It
    comes when its interval divides the count, and each time it comes is one step.

    Source: the released IMP code's executor, which counts by data set instead.
    """

    def __init__(self, intervals: Mapping[str, int]):
        """Takes intervals by stream name, in the order of the passes."""
        super().__init__({name: 1.0 / interval for name, interval in intervals.items()})
        self._intervals = [intervals[name] for name in self.names]

    def counts(self, step: int) -> dict[str, int]:
        passes, rest = self._pass_of(step)
        totals = [passes // interval for interval in self._intervals]
        for index in self._fires(passes, passes + 1)[:rest]:
            totals[index] += 1
        return dict(zip(self.names, totals, strict=True))

    def indices(self, start: int, stop: int) -> np.ndarray:
        first, skipped = self._pass_of(start)
        last, _ = self._pass_of(stop)
        return self._fires(first, last + 1)[skipped : skipped + stop - start]

    def _pass_of(self, step: int) -> tuple[int, int]:
        """Whole passes done before `step`, and steps done of the next one."""
        low, high = 0, (step + 1) * min(self._intervals)
        while low < high:
            middle = (low + high + 1) // 2
            if self._steps_in(middle) <= step:
                low = middle
            else:
                high = middle - 1
        return low, step - self._steps_in(low)

    def _steps_in(self, passes: int) -> int:
        return sum(passes // interval for interval in self._intervals)

    def _fires(self, first: int, last: int) -> np.ndarray:
        """int[steps] streams that come in the passes after `first`, up to number `last`."""
        passes = np.arange(first + 1, last + 1)[:, np.newaxis]
        return np.nonzero(passes % np.array(self._intervals) == 0)[1]
