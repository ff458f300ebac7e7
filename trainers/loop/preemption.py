"""Requests to stop, and how a run ends. Imports no TensorFlow: it listens from the start."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

# Exit codes of `mmstack train` beside 0 (done) and 2 (the user's mistake).
PREEMPTED_EXIT_CODE = 42
DIVERGED_EXIT_CODE = 43


class StopRequested(BaseException):
    """A termination signal arrived; the step that was running is complete.

    No `Exception`, as KeyboardInterrupt is none: whoever handles what goes wrong in an evaluation
    does not handle this.
    """


def leave() -> int:
    """The exit code of a process that was asked to stop where it had nothing to save; says so."""
    print("asked to stop; the same command starts again", file=sys.stderr)
    return PREEMPTED_EXIT_CODE


class StopSignal:
    """Remembers SIGTERM and SIGINT, so that the loop can save and leave between two steps.

    Inside `interrupting` it does not wait for anybody to look.
    """

    def __init__(self) -> None:
        """Listens only inside `listening`."""
        self._received = self._interrupts = self._listens = False
        self._agree: Callable[[bool], bool] = bool
        self._is_alone = True

    def agree_by(self, agree: Callable[[bool], bool] | None) -> None:
        """Takes how workers find out whether any of them was asked; None with one process."""
        self._is_alone = agree is None
        self._agree = agree or bool
        if self._listens:
            # A strategy of several processes has taken SIGTERM over, for its coordination service.
            self._handle()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Installs the handlers; outside the main thread, where Python allows none, does
        nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before, listened = self._handle(), self._listens
        self._listens = True
        try:
            yield
        finally:
            self._listens = listened
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _handle(self) -> dict[int, Any]:
        return {kind: signal.signal(kind, self._note) for kind in (signal.SIGTERM, signal.SIGINT)}

    def _note(self, signum: int, frame: object) -> None:
        if self._received and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = True
        if self._interrupts:
            # Once: what cleans up after it is left in peace.
            self._interrupts = False
            raise StopRequested

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raises StopRequested where the program stands as soon as this process is asked: for work
        that changes no weight and can be done again, such as an evaluation."""
        try:
            self._interrupts = True
            if self._received:
                raise StopRequested
            yield
        except Exception as error:
            # Libraries turn what ends them into errors of their own.
            if self._received:
                raise StopRequested from error
            raise
        finally:
            self._interrupts = False

    def any_worker(self, says_so: bool) -> bool:
        """Whether any worker says so; all call it at the same place."""
        return self._agree(says_so)

    def check_here(self) -> None:
        """Raises StopRequested when this process was asked; with several workers, only `check_all`
        does."""
        if self._received and self._is_alone:
            raise StopRequested

    def check_all(self) -> None:
        """Raises StopRequested on every worker when any was asked; all call it at the same step."""
        if self.any_worker(self._received):
            raise StopRequested
