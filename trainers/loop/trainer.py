"""The inner loop under Orbit's Controller: so many steps, stream by stream."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orbit
import tensorflow as tf

from trainers.loop import meter
from trainers.loop.divergence import Diverged
from trainers.loop.inputs import StreamReader
from trainers.loop.orders import StreamOrder
from trainers.loop.preemption import StopSignal
from trainers.loop.progress import Progress
from trainers.loop.step import TrainStep


class _Position:
    """What changes with every step; plain, because tf.Module wraps whatever is assigned to it."""

    def __init__(self, step: int):
        self.step = step
        self.loss = float("nan")
        self.batch: tuple[str, Any] | None = None


class Trainer(orbit.AbstractTrainer):
    """Runs compiled steps in the streams' order and settles their outputs once per inner loop.

    Attributes:
        meter: averages since the last log line.
        throughput: rates since the last log line.
    """

    def __init__(
        self,
        steps: Mapping[str, TrainStep],
        order: StreamOrder,
        reader: StreamReader,
        *,
        stop: StopSignal,
        progress: Progress,
        sizes: Mapping[str, Mapping[str, float]],
        stop_on_nan: bool,
        start_step: int,
    ):
        """Takes, by stream, `sizes`: examples, tokens and flops of one step over all replicas."""
        self.meter = meter.Meter()
        self.throughput = meter.Throughput()
        self._steps, self._order, self._reader = steps, order, reader
        self._stop, self._progress, self._sizes = stop, progress, sizes
        self._stop_on_nan = stop_on_nan
        self._several = len(order.names) > 1
        self._position = _Position(start_step)

    @property
    def last_batch(self) -> tuple[str, Any] | None:
        """Stream and batch of the newest step, for pictures."""
        return self._position.batch

    def train(self, num_steps: tf.Tensor) -> None:
        """Runs `num_steps` steps; called by the Controller.

        Raises:
            StopRequested: after a complete step, when a signal asked for it.
            Diverged: at the first step whose loss or gradients are not finite.
        """
        pending: list[tuple[int, str, Any, Mapping[str, tf.Tensor]]] = []
        self._order.refresh(self._position.step)
        waited = self._reader.wait_seconds
        try:
            for _ in range(int(num_steps)):
                pending.append(self._one_step())
                self._stop.check_here()
        finally:
            self.throughput.add_wait(self._reader.wait_seconds - waited)
            self._settle(pending)
        self._stop.check_all()

    def _one_step(self) -> tuple[int, str, Any, Mapping[str, tf.Tensor]]:
        step = self._position.step
        (stream,) = self._order.streams(step)
        batch = self._reader.next(stream)
        first = not self._steps[stream].num_traces
        with self.pause() if first else contextlib.nullcontext():
            outputs = self._steps[stream](batch)
        self._position.step = step + 1
        self._position.batch = (stream, batch)
        self._progress.update(step + 1, self._position.loss)
        return step, stream, batch.get("example_id"), outputs

    def _settle(self, pending: Sequence[tuple[int, str, Any, Mapping[str, tf.Tensor]]]) -> None:
        """Reads the outputs, which waits for the device, and adds them up."""
        for step, stream, example_ids, outputs in pending:
            values = {name: value.numpy() for name, value in outputs.items()}
            total, weight = (float(item) for item in values["term/loss"])
            self._position.loss = total / weight if weight else 0.0
            if self._stop_on_nan and not meter.is_finite(values):
                raise Diverged(step, stream, self._position.loss, _flat_ids(example_ids))
            self._order.observe(stream, self._position.loss)
            self.meter.add(stream if self._several else None, values)
            self.throughput.add(**self._sizes[stream])

    def pause(self) -> "Pause":
        """A context whose duration counts as no step's."""
        return Pause(self.throughput)


class Pause:
    """Takes time out of the throughput: evaluation, checkpoints, pictures."""

    def __init__(self, throughput: meter.Throughput):
        """Starts when entered."""
        self._throughput = throughput

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._throughput.add_pause(time.perf_counter() - self._start)


def _flat_ids(example_ids: Any) -> list[int]:
    """Identifiers of this process's examples, from a tensor or per-replica values."""
    if example_ids is None:
        return []
    values = getattr(example_ids, "values", None)
    tensors = list(values) if isinstance(values, tuple) else [example_ids]
    return np.concatenate([np.asarray(tensor).reshape(-1) for tensor in tensors]).tolist()
