"""Distributions of a data set, in mergeable form.

Every number is kept as an integer of millionths, so that sums do not depend on the order in which
workers are merged: the same data give the same file with any number of workers.
"""

import collections
import dataclasses
import math
from typing import Any

import apache_beam as beam
import numpy as np

_SCALE = 1_000_000
_BINS_PER_DECADE = 10
_SILENCE_DBFS = -120.0


def loudness_dbfs(waveform: np.ndarray) -> float:
    """Root mean square level of a waveform.

    Args:
        waveform: float32[samples] in [-1, 1].

    Returns:
        Decibels of full scale; -120 for silence.
    """
    mean_square = float(np.mean(np.square(waveform, dtype=np.float64))) if len(waveform) else 0.0
    return max(10.0 * math.log10(mean_square), _SILENCE_DBFS) if mean_square else _SILENCE_DBFS


@dataclasses.dataclass
class Distribution:
    """Count, extremes, moments and a histogram with ten logarithmic bins a decade."""

    count: int = 0
    minimum: int = 0
    maximum: int = 0
    total: int = 0
    total_squares: int = 0
    bins: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    def add(self, value: float) -> None:
        """Adds one finite number."""
        scaled = round(value * _SCALE)
        self.minimum = min(self.minimum, scaled) if self.count else scaled
        self.maximum = max(self.maximum, scaled) if self.count else scaled
        self.count += 1
        self.total += scaled
        self.total_squares += scaled * scaled
        self.bins[_bin(scaled)] += 1

    def merge(self, other: "Distribution") -> None:
        """Adds all that `other` has seen."""
        if not other.count:
            return
        self.minimum = min(self.minimum, other.minimum) if self.count else other.minimum
        self.maximum = max(self.maximum, other.maximum) if self.count else other.maximum
        self.count += other.count
        self.total += other.total
        self.total_squares += other.total_squares
        self.bins.update(other.bins)

    def to_json(self) -> dict[str, Any]:
        """JSON object: count, extremes, moments, median, and [lower, upper, count] of bins."""
        mean = self.total / self.count
        variance = max(self.total_squares * self.count - self.total**2, 0) / self.count**2
        bins = [[*_bin_edges(index), self.bins[index]] for index in sorted(self.bins)]
        return {
            "count": self.count,
            "min": self.minimum / _SCALE,
            "max": self.maximum / _SCALE,
            "mean": round(mean / _SCALE, 6),
            "std": round(math.sqrt(variance) / _SCALE, 6),
            "median": self._median(bins),
            "bins": bins,
        }

    def _median(self, bins: list[list[float]]) -> float:
        """Middle of the bin that holds the median, held inside the extremes."""
        seen = 0
        for lower, upper, count in bins:
            seen += count
            if 2 * seen >= self.count:
                middle = (lower + upper) / 2
                return round(min(max(middle, self.minimum / _SCALE), self.maximum / _SCALE), 6)
        return self.maximum / _SCALE


def _bin(scaled: int) -> int:
    """Signed bin number: 0 is zero, positive above, negative below."""
    if scaled == 0:
        return 0
    number = 1 + math.floor(math.log10(abs(scaled)) * _BINS_PER_DECADE + 1e-9)
    return number if scaled > 0 else -number


def _bin_edges(index: int) -> tuple[float, float]:
    if index == 0:
        return 0.0, 0.0
    lower = 10 ** ((abs(index) - 1) / _BINS_PER_DECADE) / _SCALE
    upper = 10 ** (abs(index) / _BINS_PER_DECADE) / _SCALE
    edges = (lower, upper) if index > 0 else (-upper, -lower)
    return float(f"{edges[0]:.6g}"), float(f"{edges[1]:.6g}")


@dataclasses.dataclass
class Facts:
    """What one element adds to the statistics: numbers and words by name of distribution."""

    numbers: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    words: dict[str, list[str]] = dataclasses.field(default_factory=dict)


class CombineFacts(beam.CombineFn):
    """Facts → {"numbers": name → Distribution, "words": name → Counter}, mergeable in any order."""

    def create_accumulator(self):
        return {}, {}

    def add_input(self, accumulator, facts: Facts):
        numbers, words = accumulator
        for name, values in facts.numbers.items():
            for value in values:
                numbers.setdefault(name, Distribution()).add(value)
        for name, values in facts.words.items():
            words.setdefault(name, collections.Counter()).update(values)
        return accumulator

    def merge_accumulators(self, accumulators):
        numbers, words = self.create_accumulator()
        for other_numbers, other_words in accumulators:
            for name, distribution in other_numbers.items():
                numbers.setdefault(name, Distribution()).merge(distribution)
            for name, counter in other_words.items():
                words.setdefault(name, collections.Counter()).update(counter)
        return numbers, words

    def extract_output(self, accumulator):
        return accumulator


def to_json(accumulator, *, top: int = 1000) -> dict[str, Any]:
    """JSON object of a combined accumulator.

    Args:
        accumulator: what `CombineFacts` makes.
        top: words of each histogram that are listed, most frequent first.
    """
    numbers, words = accumulator
    return {
        "numbers": {name: numbers[name].to_json() for name in sorted(numbers)},
        "words": {
            name: {
                "distinct": len(counter),
                "total": counter.total(),
                "top": sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))[:top],
            }
            for name, counter in sorted(words.items())
        },
    }
