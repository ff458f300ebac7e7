"""The queue in front of the graph: bounded, with deadlines, merging requests by rows."""

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np

from export.server.loaded import LoadedVersion
from export.server.protocols.metrics import Metrics
from export.server.requests.errors import Code, RequestError
from export.server.requests.signature import Signature

logger = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class _Work:
    version: LoadedVersion
    signature: Signature
    arrays: Mapping[str, np.ndarray]
    num_rows: int | None
    deadline: float
    future: Future

    def key(self) -> tuple | None:
        """Requests with equal keys may share a call; None for one that must go alone."""
        if self.num_rows is None or self.version.batching is None:
            return None
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(self.arrays.items()))
        return (id(self.version), self.signature.name, shapes)


class Executor:
    """Worker threads that call the graph.

    A free worker starts at once with whatever waits: company is gathered while all workers are
    busy, and for at most `batch_timeout_micros` beyond. Rows are independent in a signature whose
    inputs and outputs all have a free axis 0, and the version's batching parameters file says so;
    other requests go alone.

    Args:
        metrics: where batches and the queue are counted.
        num_threads: calls of the graph at the same time.
        max_waiting: requests in the queue; the next one is refused.
    """

    def __init__(self, metrics: Metrics, num_threads: int = 2, max_waiting: int = 256):
        self._metrics = metrics
        self.max_waiting = max_waiting
        self._waiting: collections.deque[_Work] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._num_threads, self._num_running = num_threads, 0
        self._threads = [
            threading.Thread(target=self._work, name=f"graph-{number}", daemon=True)
            for number in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        version: LoadedVersion,
        signature: Signature,
        arrays: Mapping[str, np.ndarray],
        num_rows: int | None,
        deadline: float,
        *,
        may_block: bool = False,
    ) -> Future:
        """Queues checked arrays; the future yields the outputs by name.

        Args:
            version, signature: what to call.
            arrays: inputs by name.
            num_rows: rows of axis 0, None when the signature has none.
            deadline: `time.monotonic()` after which nobody waits for the answer.
            may_block: run it in this thread when nothing waits and not all workers are busy, which
                saves two changes of thread; the future is done on return.

        Raises:
            RequestError: when the queue is full or the server is going down.
        """
        work = _Work(version, signature, arrays, num_rows, deadline, Future())
        with self._changed:
            if self._closed:
                raise RequestError(Code.UNAVAILABLE, "the server is shutting down")
            if len(self._waiting) >= self.max_waiting:
                raise queue_full(self.max_waiting)
            version.begin()
            work.future.add_done_callback(lambda _: version.end())
            here = may_block and self._may_run_here(version)
            if here:
                self._num_running += 1
            else:
                self._waiting.append(work)
                self._changed.notify()
        if here:
            work.future.set_running_or_notify_cancel()
            self._run_counted([work])
        return work.future

    def close(self, timeout_seconds: float) -> bool:
        """Answers what is queued, then stops the workers; False where a call still runs then."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            # Threads of the protocols run the graph too.
            left = max(0.0, deadline - time.monotonic())
            is_idle = self._changed.wait_for(lambda: self._num_running == 0, left)
        return is_idle and not any(thread.is_alive() for thread in self._threads)

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def _may_run_here(self, version: LoadedVersion) -> bool:
        """Whether waiting for company is not wanted and a call is free."""
        patient = version.batching is not None and version.batching.batch_timeout_micros > 0
        return not patient and not self._waiting and self._num_running < self._num_threads

    def _work(self) -> None:
        while (batch := self._take()) is not None:
            self._run_counted(batch)

    def _take(self) -> list[_Work] | None:
        with self._changed:
            while not self._waiting or self._num_running >= self._num_threads:
                if self._closed and not self._waiting:
                    return None
                self._changed.wait()
            self._num_running += 1
            first = self._waiting.popleft()
            batch = [first]
            if first.key() is not None:
                self._gather(batch)
        return [work for work in batch if _still_wanted(work)]

    def _run_counted(self, batch: list[_Work]) -> None:
        try:
            if batch:
                self._run(batch)
        finally:
            with self._changed:
                self._num_running -= 1
                self._changed.notify()

    def _gather(self, batch: list[_Work]) -> None:
        parameters = batch[0].version.batching
        until = time.monotonic() + parameters.batch_timeout_micros * 1e-6
        while True:
            self._move_matching(batch, parameters.max_batch_size)
            seconds_left = until - time.monotonic()
            num_rows = sum(work.num_rows for work in batch)
            if seconds_left <= 0 or num_rows >= parameters.max_batch_size or self._closed:
                return
            self._changed.wait(seconds_left)

    def _move_matching(self, batch: list[_Work], max_rows: int) -> None:
        key, num_rows = batch[0].key(), sum(work.num_rows for work in batch)
        for work in list(self._waiting):
            if work.key() == key and num_rows + work.num_rows <= max_rows:
                self._waiting.remove(work)
                batch.append(work)
                num_rows += work.num_rows

    def _run(self, batch: list[_Work]) -> None:
        if len(batch) == 1:
            self._run_alone(batch[0])
            return
        names = batch[0].arrays
        merged = {name: np.concatenate([work.arrays[name] for work in batch]) for name in names}
        try:
            outputs = self._call(batch[0], merged, sum(work.num_rows for work in batch))
        except Exception:
            # One bad request must not fail its neighbours: each gets its own answer.
            for work in batch:
                self._run_alone(work)
            return
        start = 0
        for work in batch:
            stop = start + work.num_rows
            work.future.set_result({name: output[start:stop] for name, output in outputs.items()})
            start = stop

    def _run_alone(self, work: _Work) -> None:
        try:
            work.future.set_result(self._call(work, work.arrays, work.num_rows))
        except RequestError as error:
            work.future.set_exception(error)
        except Exception:
            logger.exception("signature %s failed", work.signature.name)
            work.future.set_exception(RequestError(Code.INTERNAL, "the graph failed; see the log"))

    def _call(
        self, work: _Work, arrays: Mapping[str, np.ndarray], num_rows: int | None
    ) -> dict[str, np.ndarray]:
        started = time.monotonic()
        outputs = work.version.run(work.signature, arrays)
        labels = (work.version.model_name, work.signature.name)
        self._metrics.graph_seconds.labels(*labels).observe(time.monotonic() - started)
        if num_rows is not None:
            self._metrics.batch_rows.labels(*labels).observe(num_rows)
            for name, output in outputs.items():
                if output.shape[:1] != (num_rows,):
                    message = f"{name!r} has shape {list(output.shape)} for {num_rows} rows"
                    raise RequestError(Code.INTERNAL, f"output {message}")
        return outputs


def queue_full(max_waiting: int) -> RequestError:
    """For a request that would have to wait behind too many others."""
    return RequestError(Code.QUEUE_FULL, f"{max_waiting} requests are waiting; try again later")


def _still_wanted(work: _Work) -> bool:
    if not work.future.set_running_or_notify_cancel():
        return False
    if time.monotonic() >= work.deadline:
        error = RequestError(Code.DEADLINE_EXCEEDED, "the request waited past its deadline")
        work.future.set_exception(error)
        return False
    return True
