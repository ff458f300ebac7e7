"""What both protocols share: find the model, check the request, run it."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, TimeoutError

import numpy as np

from export.server.executor import Executor
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
        metrics.queue_length.set_function(lambda: executor.num_waiting)

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return self.models.ready and not self.draining

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
            return future.result(min(self.limits.timeout_seconds, timeout_seconds))
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
