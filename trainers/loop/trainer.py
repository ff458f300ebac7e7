"""The inner loop under Orbit's Controller: so many steps, stream by stream."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orbit
import tensorflow as tf

from mm_models.progress import ProgressBar
from trainers.config.schema import TrainerConfig
from trainers.loop.alternation.streams import Streams
from trainers.loop.divergence import Diverged
from trainers.loop.monitoring import loss_watch, meter
from trainers.loop.preemption import StopSignal


class _Done(NamedTuple):
    """A step that was started: its outputs may still be on their way.

    Attributes:
        step: its number.
        example_ids: by stream, or None where batches carry none. The batches themselves would fill
            the memory.
        outputs: as `CompiledStep` names them.
    """

    step: int
    example_ids: Mapping[str, Any]
    outputs: Mapping[str, tf.Tensor]


class _Position:
    """What changes with every step; plain, because tf.Module wraps whatever is assigned to it."""

    def __init__(self, step: int):
        self.step = step
        self.loss = float("nan")
        self.batches: Mapping[str, Any] = {}


class Trainer(orbit.AbstractTrainer):
    """Runs compiled steps in the streams' order and settles their outputs once per inner loop.

    Attributes:
        meter: averages since the last log line.
        throughput: rates since the last log line.
    """

    def __init__(
        self,
        streams: Streams,
        config: TrainerConfig,
        *,
        stop: StopSignal,
        progress: ProgressBar,
        watch: loss_watch.LossWatch,
        start_step: int,
    ):
        """Starts at `start_step`, where the streams were opened."""
        self.meter = meter.Meter()
        self._watch = watch
        self.throughput = meter.Throughput()
        self._dispatcher, self._sizes = streams.dispatcher, streams.sizes
        self._order, self._reader = streams.order, streams.reader
        self._config, self._stop, self._progress = config, stop, progress
        self._position = _Position(start_step)

    @property
    def last_batches(self) -> Mapping[str, Any]:
        """Batches of the newest step by stream, for pictures."""
        return self._position.batches

    @property
    def loss(self) -> float:
        """Of the newest step whose outputs were read."""
        return self._position.loss

    def train(self, num_steps: tf.Tensor) -> None:
        """Runs `num_steps` steps; called by the Controller.

        Raises:
            StopRequested: after a complete step, when a signal asked for it.
            Diverged: at the first step whose loss or gradients are not finite, or at one of too
                many of those.
        """
        self._order.refresh(self._position.step)
        last = self._position.step + int(num_steps)
        pending: list[_Done] = []
        waited = self._reader.wait_seconds
        try:
            while self._position.step < last:
                pending += self._dispatch(last)
                self._stop.check_here()
        finally:
            self.throughput.add_wait(self._reader.wait_seconds - waited)
            self._settle(pending)
        self._stop.check_all()

    def _dispatch(self, last: int) -> list[_Done]:
        """One call of a compiled function: `multi_step` steps where they fit, or one."""
        first, size = self._position.step, self._config.alternation.multi_step
        if first % size or first + size > last:
            size = 1
        block = tuple(self._order.streams(first + offset) for offset in range(size))
        batches = tuple(tuple(self._reader.next(name) for name in streams) for streams in block)
        is_new = self._dispatcher.is_new(block)
        with self.throughput.pause() if is_new else contextlib.nullcontext():
            outputs = self._dispatcher.run(block, batches)
        self._position.step = first + size
        self._position.batches = dict(zip(block[-1], batches[-1], strict=True))
        self._progress.update(self._position.step, f"loss {self._position.loss:.4f}")
        ids = [[batch.get("example_id") for batch in each] for each in batches]
        return [
            _Done(first + offset, dict(zip(block[offset], ids[offset], strict=True)), each)
            for offset, each in enumerate(outputs)
        ]

    def _settle(self, pending: Sequence[_Done]) -> None:
        """Reads the outputs, which waits for the device, and adds them up."""
        several = len(self._order.names) > 1
        for step, example_ids, outputs in pending:
            values = {name: value.numpy() for name, value in outputs.items()}
            loss = self._position.loss = _mean(values["term/loss"])
            streams = tuple(example_ids)
            self._look_at(step, example_ids, values)
            if len(streams) == 1:
                self._order.observe(streams[0], loss)
            # The terms of a step on all streams have their names already.
            self.meter.add(streams[0] if several and len(streams) == 1 else None, values)
            self.throughput.add(**self._sizes[streams])

    def _look_at(
        self, step: int, example_ids: Mapping[str, Any], values: Mapping[str, np.ndarray]
    ) -> None:
        """Raises Diverged for a step that is not finite, where that is not tolerated."""
        loss, is_finite = _mean(values["term/loss"]), meter.is_finite(values)
        name = " + ".join(example_ids)
        self._watch.observe(name, loss, is_finite=is_finite)
        if is_finite:
            return
        what = f"gave loss {loss} or gradients that are no numbers"
        if self._config.nan_gradients == "zero":
            count, limit = self._watch.bad_steps(name), self._config.nan_gradients_limit
            if count <= limit:
                return
            what = (
                f"gave no finite loss or gradients in {count} of its last {loss_watch.WINDOW} "
                f"steps, and trainer.nan_gradients_limit is {limit}"
            )
        stream = _blamed(list(example_ids), values)
        raise Diverged(step, stream, what, loss, _flat_ids(example_ids[stream]))


def _mean(term: np.ndarray) -> float:
    total, weight = (float(item) for item in term)
    return total / weight if weight else 0.0


def _blamed(streams: Sequence[str], values: Mapping[str, np.ndarray]) -> str:
    """The first stream of a step whose own loss is no number, or the first of all."""
    for stream in streams:
        if not np.isfinite(values.get(f"term/{stream}/loss", 0.0)).all():
            return stream
    return streams[0]


def _flat_ids(example_ids: Any) -> list[int]:
    """Identifiers of this process's examples, from a tensor or per-replica values."""
    if example_ids is None:
        return []
    values = getattr(example_ids, "values", None)
    tensors = list(values) if isinstance(values, tuple) else [example_ids]
    return np.concatenate([np.asarray(tensor).reshape(-1) for tensor in tensors]).tolist()
