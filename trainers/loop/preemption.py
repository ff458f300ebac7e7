"""Requests to stop, and how a run ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import tensorflow as tf

from trainers import distribution

# Exit codes of `mmstack train` beside 0 (done) and 2 (the user's mistake).
PREEMPTED_EXIT_CODE = 42
DIVERGED_EXIT_CODE = 43


class StopRequested(Exception):
    """A termination signal arrived; the step that was running is complete."""


class StopSignal:
    """Remembers SIGTERM and SIGINT, so that the loop can save and leave between two steps."""

    def __init__(self, strategy: tf.distribute.Strategy):
        """Listens only inside `listening`."""
        self._strategy = strategy
        self._received = False
        self._agree = None
        if not distribution.is_single(strategy) and strategy.cluster_resolver is not None:
            self._agree = tf.function(self._sum_over_replicas)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Installs the handlers; outside the main thread, where Python allows none, does
        nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {kind: signal.signal(kind, self._note) for kind in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _note(self, signum: int, frame: object) -> None:
        if self._received and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = True

    def check_here(self) -> None:
        """Raises StopRequested when this process was asked; with several workers, only `check_all`
        does."""
        if self._received and self._agree is None:
            raise StopRequested

    def check_all(self) -> None:
        """Raises StopRequested on every worker when any was asked; all call it at the same step."""
        asked = self._received
        if self._agree is not None:
            asked = float(self._agree(tf.constant(float(asked)))) > 0
        if asked:
            raise StopRequested

    def _sum_over_replicas(self, flag: tf.Tensor) -> tf.Tensor:
        per_replica = self._strategy.run(tf.identity, args=(flag,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)
