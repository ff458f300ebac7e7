"""From `trainer.alternation` to an order of streams, and the order that follows losses."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trainers.config.schema import AlternationConfig, ExperimentConfig
from trainers.loop.alternation.orders import (
    Block,
    EveryStream,
    IntervalOrder,
    ProportionalOrder,
    RandomOrder,
    StreamOrder,
)


class MeasuredOrder(ProportionalOrder):
    """Shares that follow each stream's own losses, renewed every `refresh_steps` steps.

    A stream's share is its weight times the mean (`loss`) or the standard deviation
    (`uncertainty`) of its losses, over the sum of that over the streams; `floor_share` of the steps
    is handed out by weight alone, so that none starves. Each renewal halves what earlier losses
    count. Until a stream has been measured it counts as the mean of the others.
    """

    def __init__(self, weights: Mapping[str, float], seed: int, config: AlternationConfig):
        """Starts with the weights; takes a config of the sampler `loss` or `uncertainty`."""
        super().__init__(weights, seed)
        self.refresh_steps = config.refresh_steps
        self._given = self.shares
        self._statistic, self._floor = config.sampler, config.floor_share
        self._window_start = 0
        self._counts = dict.fromkeys(self.names, 0)
        self._moments = {name: [0.0, 0.0, 0.0] for name in self.names}

    def indices(self, start: int, stop: int) -> np.ndarray:
        """See StreamOrder; raises ValueError outside the window whose shares are known."""
        if not self._window_start <= start <= stop <= self._window_start + self.refresh_steps:
            raise ValueError(f"no shares for steps {start} to {stop}: {self._window_start=}")
        return super().indices(start, stop)

    def counts(self, step: int) -> dict[str, int]:
        indices = self.indices(self._window_start, step)
        since = np.bincount(indices, minlength=len(self.names)).tolist()
        return {
            name: self._counts[name] + count for name, count in zip(self.names, since, strict=True)
        }

    def observe(self, stream: str, loss: float) -> None:
        if np.isfinite(loss):
            for power, moment in enumerate((1.0, loss, loss * loss)):
                self._moments[stream][power] += moment

    def refresh(self, step: int) -> None:
        if step < self._window_start + self.refresh_steps:
            return
        self._counts = self.counts(step)
        self._window_start = step
        scores = self._given * self._measured()
        if scores.sum() > 0:
            measured = scores / scores.sum()
            self.weights = (1.0 - self._floor) * measured + self._floor * self._given
        for moments in self._moments.values():
            moments[:] = [moment / 2 for moment in moments]

    def blocks(self, start: int, stop: int, size: int) -> Iterator[Block]:
        return itertools.product([(name,) for name in self.names], repeat=size)

    def _measured(self) -> np.ndarray:
        """float64[names] statistic of each stream."""
        values = np.full(len(self.names), np.nan)
        for index, (count, total, squares) in enumerate(self._moments.values()):
            if self._statistic == "loss" and count > 0:
                values[index] = max(total / count, 0.0)
            elif self._statistic == "uncertainty" and count > 1:
                values[index] = np.sqrt(max(squares / count - (total / count) ** 2, 0.0))
        known = values[~np.isnan(values)]
        return np.where(np.isnan(values), known.mean() if len(known) else 1.0, values)

    @property
    def state(self) -> dict[str, Any]:
        return {
            "window_start": self._window_start,
            "counts": self._counts,
            "weights": dict(zip(self.names, self.weights.tolist(), strict=True)),
            "moments": self._moments,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        if not state:
            return
        self._window_start = state["window_start"]
        self._counts = {name: state["counts"][name] for name in self.names}
        self.weights = np.array([state["weights"][name] for name in self.names])
        self._moments = {name: list(state["moments"][name]) for name in self.names}


def build_order(config: ExperimentConfig) -> StreamOrder:
    """The order that `trainer.alternation` asks for."""
    alternation, seed = config.trainer.alternation, config.trainer.seed
    weights = {name: stream.weight for name, stream in config.streams.items()}
    if alternation.combine == "sum":
        return EveryStream(weights)
    if alternation.sampler == "interval":
        return IntervalOrder(
            {name: stream.interval for name, stream in config.streams.items() if stream.weight}
        )
    if alternation.sampler in ("loss", "uncertainty"):
        return MeasuredOrder(weights, seed, alternation)
    kinds = {"proportional": ProportionalOrder, "random": RandomOrder}
    return kinds[alternation.sampler](weights, seed)
