"""Starts runs as children of one process that has imported TensorFlow but run nothing.

Importing costs seconds; a test of many runs pays it once. Reads one JSON object a line,
`{"argv": [...], "main": module:function, "log": file, "kill_after_seconds": number or null,
"kill_at": {"file": path, "bytes": length} or null, "signal": 9 or 15, "signal_to": numbers of
children or null for all, "environments": [{}, ...]}`, starts a child for each environment, and
answers with `{"codes": exit codes, negative for a signal, "seconds": wall time}`. The seconds until
the kill count from when the file has its length.
"""

import json
import os
import signal
import sys
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import orbit  # noqa: F401
import tensorflow as tf  # noqa: F401

from mm_models.references import resolve
from tests.trainers import toy_task  # noqa: F401
from trainers.loop import modes, training  # noqa: F401


def _start(request: dict, environment: dict[str, str]) -> int:
    child = os.fork()
    if child:
        return child
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(environment)
    code = 1
    try:
        os.chdir(request.get("folder", "."))
        code = resolve(request.get("main", "tests.trainers.toy_task:main"))(request["argv"])
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(request: dict) -> dict:
    start = time.monotonic()
    children = [_start(request, each) for each in request.get("environments", [{}])]
    delay, awaited = request.get("kill_after_seconds"), request.get("kill_at")
    waiting_since = start
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        for child in children:
            done, status = os.waitpid(child, os.WNOHANG) if child not in codes else (0, 0)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
        if awaited and _has_grown(awaited):
            awaited, waiting_since = None, time.monotonic()
        if delay is not None and not awaited and time.monotonic() - waiting_since >= delay:
            chosen = request.get("signal_to") or range(len(children))
            for child in {children[index] for index in chosen} - set(codes):
                os.kill(child, request["signal"])
            delay = None
        time.sleep(0.002)
    return {
        "codes": [codes[child] for child in children],
        "seconds": time.monotonic() - start,
    }


def _has_grown(awaited: dict) -> bool:
    path = awaited["file"]
    return os.path.exists(path) and os.path.getsize(path) >= awaited["bytes"]


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
