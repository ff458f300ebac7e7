"""The order of training examples as a function of (seed, step, position). Imports no TensorFlow.

Nothing is remembered between steps: the example at any step is computed from integers, so resuming
at step 1,000,000 costs what step 0 costs, and any number of hosts or replicas sees the same global
batch.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from mm_models.errors import UserError
from trainers.data.order.mixture import MixtureBlock
from trainers.data.order.randomness import hash64, splitmix

_ROUNDS = 8


def permute(positions: np.ndarray, num_items: int, keys: np.ndarray) -> np.ndarray:
    """Looks positions up in pseudo-random permutations, without building these.

    A Feistel network permutes the smallest power of four that holds `num_items`; results outside
    the range are permuted again until they fall inside, which keeps it a permutation of the range.

    Args:
        positions: int64[positions] in [0, num_items).
        num_items: size of the permuted range.
        keys: uint64[positions] or uint64[], the permutation each position is looked up in.

    Returns:
        int64[positions] in [0, num_items).
    """
    half_bits = np.uint64(max(1, ((num_items - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half_bits)) - 1)
    values = positions.astype(np.uint64)
    keys = np.broadcast_to(np.asarray(keys, np.uint64), values.shape)
    outside = np.ones(values.shape, bool)
    while outside.any():
        values[outside] = _feistel(values[outside], keys[outside], half_bits, mask)
        outside = values >= np.uint64(num_items)
    return values.astype(np.int64)


def _feistel(
    values: np.ndarray, keys: np.ndarray, half_bits: np.uint64, mask: np.uint64
) -> np.ndarray:
    left, right = values >> half_bits, values & mask
    with np.errstate(over="ignore"):
        for number in range(_ROUNDS):
            salt = splitmix(np.asarray(number, np.uint64))
            left, right = right, left ^ (splitmix(splitmix(keys ^ salt) ^ right) & mask)
    return (left << half_bits) | right


@dataclasses.dataclass(frozen=True)
class Draw:
    """Which examples a slice of a batch holds.

    Attributes:
        dataset: int64[examples] data set numbers.
        ordinal: int64[examples] how many examples of that data set came before, over all steps.
        shift: int64[examples] how far behind the ordinal the record stands, for `record`.
    """

    dataset: np.ndarray
    ordinal: np.ndarray
    shift: np.ndarray


# Data set number and int64[examples] record numbers in it -> what tells records of a stream apart.
Identify = Callable[[int, np.ndarray], Sequence]


class Taken:
    """Records that a batch has."""

    def __init__(self, identify: Identify, found: set | None = None):
        """Takes what tells records apart, and what it says of those that are there already."""
        self._identify = identify
        self._found = found or set()

    def add(self, dataset: int, number: np.ndarray) -> bool:
        """Whether the record `number: int64[1]` was new to the batch, which it joins."""
        (each,) = self._identify(dataset, number)
        is_new = each not in self._found
        self._found.add(each)
        return is_new


class TrainingOrder:
    """Endless order over a mixture of data sets.

    Each data set is walked epoch by epoch in a fresh permutation, no record twice in an epoch. A
    batch in which an epoch ends may so have a record of the old epoch and of the new one; with
    `identify`, no batch has a record twice: the next ones of the order that it does not have yet
    stand in for those that come again.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        block: MixtureBlock,
        batch_size: int,
        seed: int,
        identify: Identify | None = None,
    ):
        """Takes records per data set, the mixture, the global batch size, the seed, and what tells
        records apart where batches are to have each once."""
        self._sizes = sizes
        self._block = block
        self._batch_size = batch_size
        self._seed = seed
        self._identify = identify

    def draw(self, step: int, positions: np.ndarray) -> Draw:
        """The examples at `positions: int64[examples]` of the global batch of `step`.

        Raises UserError where each is to stand once, and too few are there for a batch.
        """
        if self._identify is None:
            return self._draw(step, positions)
        whole = self._draw(step, np.arange(self._batch_size))
        shift = self._distinct_shifts(whole, self._identify)
        return Draw(whole.dataset[positions], whole.ordinal[positions], shift[positions])

    def taken(self, step: int) -> "Taken | None":
        """What a batch already has, where it is to have each record once; None where it is not."""
        if self._identify is None:
            return None
        draw = self.draw(step, np.arange(self._batch_size))
        taken = Taken(self._identify)
        for dataset, ordinal, shift in zip(draw.dataset, draw.ordinal, draw.shift, strict=True):
            taken.add(int(dataset), self.record(int(dataset), ordinal[None], shift[None]))
        return taken

    def _distinct_shifts(self, draw: Draw, identify: Identify) -> np.ndarray:
        """int64[examples] places to go on from each example of a whole batch."""
        found: list = [None] * len(draw.dataset)
        for dataset in np.unique(draw.dataset).tolist():
            rows = np.flatnonzero(draw.dataset == dataset)
            records = self.record(dataset, draw.ordinal[rows])
            for row, each in zip(rows.tolist(), identify(dataset, records), strict=True):
                found[row] = each
        shift, every = np.zeros(len(found), np.int64), set(found)
        if len(every) == len(found):
            return shift
        taken, first = Taken(identify, every), set()
        for row, each in enumerate(found):
            if each in first:
                place = int(draw.dataset[row]), draw.ordinal[row : row + 1]
                shift[row] = self._next_free(*place, taken)
            first.add(each)
        return shift

    def _next_free(self, dataset: int, ordinal: np.ndarray, taken: "Taken") -> int:
        """The shift to the next record that is not taken, which then is."""
        for shift in range(1, self._sizes[dataset]):
            if taken.add(dataset, self.record(dataset, ordinal, shift)):
                return shift
        raise UserError(
            f"a batch of {self._batch_size} different examples takes more than the "
            f"{self._sizes[dataset]} records of data set number {dataset + 1}; make batch_size "
            "smaller, or read more records"
        )

    def _draw(self, step: int, positions: np.ndarray) -> Draw:
        places = step * self._batch_size + positions
        blocks, within = np.divmod(places, self._block.length)
        dataset = np.empty(len(places), np.int64)
        ordinal = np.empty(len(places), np.int64)
        for number in np.unique(blocks):
            chosen = blocks == number
            datasets, ranks = self._block.table(self._seed, int(number))
            dataset[chosen] = datasets[within[chosen]]
            ordinal[chosen] = ranks[within[chosen]]
        ordinal += blocks * self._block.counts[dataset]
        return Draw(dataset, ordinal, np.zeros(len(places), np.int64))

    def record(self, dataset: int, ordinals: np.ndarray, shift: int | np.ndarray = 0) -> np.ndarray:
        """Record numbers at `ordinals: int64[examples]` of one data set.

        Args:
            dataset: data set number.
            ordinals: examples of that data set so far.
            shift: how many places further round the epoch's order to look, of all or of each: the
                replacement of a corrupt record is the next valid one.
        """
        size = self._sizes[dataset]
        epochs, places = np.divmod(ordinals, size)
        keys = hash64(self._seed, dataset + 1, epochs)
        return permute((places + shift) % size, size, keys)


class EvaluationOrder:
    """Every record of every data set once, in stored order; padding after the last one."""

    def __init__(self, sizes: Sequence[int], batch_size: int):
        """Takes records per data set and the global batch size."""
        self._sizes, self._ends = sizes, np.cumsum(sizes)
        self._batch_size = batch_size
        self.num_examples = int(self._ends[-1])
        self.num_batches = -(-self.num_examples // batch_size)

    def draw(self, step: int, positions: np.ndarray) -> Draw:
        """Data set and record number at `positions` of batch `step`; data set -1 is padding."""
        places = step * self._batch_size + positions
        dataset = np.searchsorted(self._ends, places, side="right")
        starts = np.concatenate([[0], self._ends])
        ordinal = places - starts[dataset]
        dataset = np.where(places < self.num_examples, dataset, -1)
        return Draw(dataset, ordinal, np.zeros(len(places), np.int64))

    def taken(self, step: int) -> None:
        """No record comes twice anyway, but for those that stand in for corrupt ones."""
        return

    def record(self, dataset: int, ordinals: np.ndarray, shift: int | np.ndarray = 0) -> np.ndarray:
        """Record numbers: the ordinals themselves; a replacement is the next stored record."""
        return (ordinals + shift) % self._sizes[dataset]
