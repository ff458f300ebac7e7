"""Mixing several data sets by weight, with exact shares over long runs."""

import functools
from collections.abc import Sequence

import numpy as np

from trainers.data.order.randomness import hash64, uniform


class MixtureBlock:
    """Shares of the data sets within every block of consecutive examples.

    A block gives each data set a fixed number of places (largest remainder of its weight), spread
    evenly with a little jitter, so that every batch comes close to the shares and long runs meet
    them.
    """

    def __init__(self, weights: Sequence[float], length: int = 4096):
        """Takes positive weights, relative to each other."""
        self.length = length
        self.counts = _largest_remainder(np.asarray(weights, np.float64), self.length)
        # An instance-bound cache: neighbouring steps fall into the same block.
        self.table = functools.lru_cache(maxsize=4)(self._table)

    def _table(self, seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Data set and rank within the block of each place: int64[length], int64[length]."""
        datasets = np.repeat(np.arange(len(self.counts)), self.counts)
        ranks = np.concatenate([np.arange(count) for count in self.counts])
        jitter = uniform(hash64(seed, 0, block, datasets, ranks))
        order = np.argsort((ranks + jitter) / self.counts[datasets], kind="stable")
        return datasets[order], ranks[order]


def _largest_remainder(weights: np.ndarray, total: int) -> np.ndarray:
    """Whole counts that sum to `total`, proportional to the weights, at least one each."""
    exact = 1 + (total - len(weights)) * weights / weights.sum()
    counts = np.floor(exact).astype(np.int64)
    missing = total - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts
