"""gRPC messages on their way: half-sent ones must not hold the threads and memory of good ones."""

import threading
import time
from collections.abc import Iterator

import grpc

from export.server.requests.errors import Code, RequestError, invalid

# A message that takes longer counts as slow.
_SLOW_SECONDS = 0.5
_LOOK_SECONDS = 0.1


class Receiving:
    """Waits for the one message of each call, and cancels calls whose message does not come.

    Args:
        body_seconds: for a whole message.
        max_slow: messages that may take longer than a moment at the same time; beyond it the oldest
            are cancelled.
    """

    def __init__(self, body_seconds: float, max_slow: int):
        self._body_seconds, self._max_slow = body_seconds, max_slow
        self._since: dict[grpc.ServicerContext, float] = {}
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="receiving", daemon=True)
        self._thread.start()

    def message(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The message of a call. Raises RequestError when it does not come."""
        with self._lock:
            self._since[context] = time.monotonic()
        try:
            return next(messages)
        except StopIteration:
            raise invalid("the call ended without a message") from None
        except grpc.RpcError:
            sentence = f"the message was not whole within {self._body_seconds:g} s"
            raise RequestError(Code.TIMEOUT, sentence) from None
        finally:
            with self._lock:
                del self._since[context]

    def stop(self) -> None:
        """Ends the watching."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            for context in self._late(time.monotonic()):
                context.cancel()

    def _late(self, now: float) -> list[grpc.ServicerContext]:
        with self._lock:
            waiting = [(now - since, context) for context, since in self._since.items()]
        slow = [(age, context) for age, context in waiting if age > _SLOW_SECONDS]
        num_over = len(slow) - self._max_slow
        return [
            context
            for number, (age, context) in enumerate(slow)
            if number < num_over or age > self._body_seconds
        ]
