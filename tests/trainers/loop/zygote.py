"""Starts toy runs as children of one process that has imported TensorFlow but run nothing.

Importing costs seconds; a test that kills many runs pays it once. Reads one JSON object a line,
`{"argv": [...], "kill_after_seconds": number or null, "kill_at": {"file": path, "bytes": length}
or null, "signal": 9 or 15}`, and answers with `{"code": exit code, negative for a signal,
"seconds": wall time}`. The seconds until the kill count from when the file has its length.
"""

import json
import os
import signal
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import orbit  # noqa: F401
import tensorflow as tf  # noqa: F401

from tests.trainers import toy_task
from trainers.loop import modes, training  # noqa: F401


def _run(request: dict) -> dict:
    start = time.monotonic()
    child = os.fork()
    if not child:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            code = toy_task.main(request["argv"])
        finally:
            sys.stderr.flush()
            os._exit(code)
    delay, awaited = request.get("kill_after_seconds"), request.get("kill_at")
    waiting_since = start
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return {
                "code": os.waitstatus_to_exitcode(status),
                "seconds": time.monotonic() - start,
            }
        if awaited and _has_grown(awaited):
            awaited, waiting_since = None, time.monotonic()
        if delay is not None and not awaited and time.monotonic() - waiting_since >= delay:
            os.kill(child, request["signal"])
            delay = None
        time.sleep(0.002)


def _has_grown(awaited: dict) -> bool:
    path = awaited["file"]
    return os.path.exists(path) and os.path.getsize(path) >= awaited["bytes"]


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
