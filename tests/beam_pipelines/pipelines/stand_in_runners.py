"""Runners that stand in for remote ones: Beam finds them by their full names."""

import threading
import types

from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState

GRAPH_BYTES: list[int] = []
CANCELLED: list[bool] = []


class _Result(PipelineResult):
    """Ends in a given state, after its counters were asked for often enough."""

    def __init__(self, state: str, looks: int = 0):
        super().__init__(PipelineState.RUNNING)
        self._end, self._looks = state, looks
        self._seen = threading.Event()
        self._asked: list[int] = []
        self._kept = None
        if not looks:
            self._seen.set()

    def wait_until_finish(self, duration=None):
        assert self._seen.wait(20)
        self._state = self._end
        return self._end

    def cancel(self):
        CANCELLED.append(True)

    def metrics(self):
        if self._kept is None:  # As portable runners do, which answer once.
            self._asked.append(1)
            if len(self._asked) >= self._looks:
                self._seen.set()
            self._kept = _Counters(len(self._asked))
        return self._kept


class _Counters:
    def __init__(self, items: int):
        self._items = items

    def query(self, _):
        counters = []
        for name, value in (("items_done", self._items), ("media_bytes_done", 0)):
            key = types.SimpleNamespace(metric=types.SimpleNamespace(name=name))
            counters.append(types.SimpleNamespace(key=key, attempted=value))
        return {"counters": counters}


class FailedRunner(PipelineRunner):
    """Its jobs do nothing and end FAILED, without an exception."""

    def run_pipeline(self, pipeline, options):
        return _Result(PipelineState.FAILED)


class InterruptedRunner(PipelineRunner):
    """Whoever waits for its jobs presses Ctrl-C."""

    def run_pipeline(self, pipeline, options):
        result = _Result(PipelineState.CANCELLED)

        def wait(duration=None):
            raise KeyboardInterrupt

        result.wait_until_finish = wait
        return result


class RaisingRunner(PipelineRunner):
    """Raises what the module's `ERROR` is."""

    def run_pipeline(self, pipeline, options):
        raise ERROR


class WorkingRunner(PipelineRunner):
    """Does the work on this machine; ends after its counters were asked for `LOOKS` times."""

    def run_pipeline(self, pipeline, options):
        GRAPH_BYTES.append(pipeline.to_runner_api().ByteSize())
        FnApiRunner().run_pipeline(pipeline, options)
        return _Result(PipelineState.DONE, LOOKS)


LOOKS = 0
ERROR: Exception = RuntimeError("nothing")
