"""What both protocols share: find the model, check the request, run it."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, TimeoutError

import numpy as np

from export.server.executor import Executor, queue_full
from export.server.loaded import LoadedVersion
from export.server.models import Models
from export.server.protocols.metrics import Metrics
from export.server.requests.errors import Code, RequestError
from export.server.requests.limits import Limits
from export.server.requests.signature import Signature

logger = logging.getLogger(__name__)
Decode = Callable[[Signature], Mapping[str, np.ndarray]]


class Core:
    """The server without its protocols.

    Args:
        models: the table of versions.
        executor: the queue in front of the graph.
        limits: bounds of a request.
        metrics: counters.
    """

    def __init__(self, models: Models, executor: Executor, limits: Limits, metrics: Metrics):
        self.models, self.executor, self.limits, self.metrics = models, executor, limits, metrics
        self.draining = False
        self._num_waiting_media, self._media_lock = 0, threading.Lock()
        metrics.queue_length.set_function(lambda: self.num_waiting)

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return self.models.ready and not self.draining

    @property
    def num_waiting(self) -> int:
        """Requests in the queue of the graph, and media files that wait to be decoded."""
        return self.executor.num_waiting + self._num_waiting_media

    def admit(self) -> None:
        """Raises RequestError where a new request would not be answered: UNAVAILABLE while the
        server shuts down, QUEUE_FULL while the queue is full."""
        if self.draining:
            raise RequestError(Code.UNAVAILABLE, "the server is shutting down")
        if self.num_waiting >= self.executor.max_waiting:
            raise queue_full(self.executor.max_waiting)

    @contextlib.contextmanager
    def waiting_media(self):
        """Around the waiting of a media file. Raises RequestError as `admit` does."""
        with self._media_lock:
            self.admit()
            self._num_waiting_media += 1
        try:
            yield
        finally:
            with self._media_lock:
                self._num_waiting_media -= 1

    def submit(
        self,
        version: LoadedVersion,
        signature_name: str,
        decode: Decode,
        timeout_seconds: float = math.inf,
        *,
        may_block: bool = False,
    ) -> tuple[Signature, Future]:
        """Checks a request and queues it.

        Args:
            version: from `models.get`.
            signature_name: empty for `serving_default`.
            decode: makes the arrays, given the signature.
            timeout_seconds: the client's, where it has one.
            may_block: the calling thread has nothing better to do than to run the graph.

        Returns:
            The signature and the future of the outputs by name.

        Raises:
            RequestError: for anything wrong with the request, before it is queued.
        """
        signature = version.signature(signature_name)
        arrays = decode(signature)
        num_rows = signature.check(arrays, self.limits)
        deadline = time.monotonic() + min(self.limits.timeout_seconds, timeout_seconds)
        future = self.executor.submit(
            version, signature, arrays, num_rows, deadline, may_block=may_block
        )
        if future.done() and time.monotonic() >= deadline:
            raise deadline_error()
        return signature, future

    def wait(self, future: Future, timeout_seconds: float = math.inf) -> dict[str, np.ndarray]:
        """The outputs of a submitted request. Raises RequestError."""
        try:
            return future.result(max(min(self.limits.timeout_seconds, timeout_seconds), 0))
        except TimeoutError:
            future.cancel()
            raise deadline_error() from None


def deadline_error() -> RequestError:
    """For a request that was not answered in time."""
    return RequestError(Code.DEADLINE_EXCEEDED, "the answer was not ready before the deadline")


def as_request_error(error: Exception) -> RequestError:
    """The error itself when it is the client's, else a logged internal one without details."""
    if isinstance(error, RequestError):
        return error
    logger.error("request failed", exc_info=error)
    return RequestError(Code.INTERNAL, "internal error; see the server's log")
