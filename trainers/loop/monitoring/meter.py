"""Averages between two log lines, exactly resumable, and the rates of this process."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping

import numpy as np


class Meter:
    """Weighted sums of a step's terms since the last log line.

    Attributes:
        state: sums and weights by name; goes into the checkpoint, so that a resumed run logs the
            averages an uninterrupted one would.
    """

    def __init__(self):
        """Starts empty."""
        self.state: dict[str, list[float]] = {}

    def add(self, stream: str | None, outputs: Mapping[str, np.ndarray]) -> None:
        """Adds a step's outputs, under `stream/…` too when the experiment has several streams."""
        for name, value in outputs.items():
            key, total, weight = _entry(name, value)
            self._accumulate(f"train/{key}", total, weight)
            if stream is not None:
                self._accumulate(f"train/{stream}/{key}", total, weight)

    def _accumulate(self, key: str, total: float, weight: float) -> None:
        entry = self.state.setdefault(key, [0.0, 0.0])
        entry[0] += total
        entry[1] += weight

    def means(self) -> dict[str, float]:
        """Averages by name; terms that never had weight are left out."""
        return {key: total / weight for key, (total, weight) in self.state.items() if weight}

    def reset(self) -> None:
        """Starts the next window."""
        self.state = {}


def _entry(name: str, value: np.ndarray) -> tuple[str, float, float]:
    """Tag, sum and weight of one output; terms carry their own weight, other scalars count once a
    step."""
    if name.startswith("term/"):
        total, weight = (float(item) for item in value)
        return name.removeprefix("term/"), total, weight
    return name, float(value), 1.0


def is_finite(outputs: Mapping[str, np.ndarray]) -> bool:
    """Whether loss and gradients of a step are numbers."""
    return math.isfinite(float(outputs["term/loss"][0])) and not float(
        outputs["nonfinite_gradients"]
    )


class Throughput:
    """Rates since the last log line, of this process only."""

    def __init__(self):
        """Starts the clock."""
        self.reset()

    def reset(self) -> None:
        """Starts the next window now."""
        self._start = time.perf_counter()
        self.steps = 0
        self.examples = self.tokens = self.flops = 0.0
        self._wait_seconds = 0.0
        self._paused_seconds = 0.0

    def add(self, *, examples: float, tokens: float, flops: float) -> None:
        """Counts one step over all replicas."""
        self.steps += 1
        self.examples += examples
        self.tokens += tokens
        self.flops += flops

    def add_wait(self, seconds: float) -> None:
        """Time spent waiting for input."""
        self._wait_seconds += seconds

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """A context whose time belongs to no step: evaluation, checkpoints, pictures."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._paused_seconds += time.perf_counter() - start

    def rates(self, peak_flops_per_second: float) -> dict[str, float]:
        """Rates by name; the peak is that of all devices together."""
        seconds = max(time.perf_counter() - self._start - self._paused_seconds, 1e-9)
        rates = {
            "train/steps_per_second": self.steps / seconds,
            "train/examples_per_second": self.examples / seconds,
            "train/tokens_per_second": self.tokens / seconds,
            "train/input_stall_share": min(self._wait_seconds / seconds, 1.0),
        }
        if peak_flops_per_second and self.flops:
            rates["train/model_flops_utilization"] = self.flops / seconds / peak_flops_per_second
        return rates
