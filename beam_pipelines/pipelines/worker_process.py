"""One worker process of a local job: Beam's own, told to log warnings and worse only.

The engine starts worker processes without the pipeline's options, so the log level has to be set
here. Tracebacks, which a worker prints as well as sends, go to the job's log.
"""

import contextlib
import json
import logging
import os
import sys

from beam_pipelines.pipelines.job_errors import WORKER_LOG
from beam_pipelines.pipelines.runner import import_beam

_START_UP_LOGGER = "apache_beam.runners.worker.sdk_worker_main"


def main() -> None:
    """Serves one launcher until it closes the connection."""
    import_beam()
    from apache_beam.runners.worker import sdk_worker_main

    options = json.loads(os.environ.get("PIPELINE_OPTIONS") or "{}")
    options.setdefault("default_sdk_harness_log_level", "WARNING")
    os.environ["PIPELINE_OPTIONS"] = json.dumps(options)
    # It warns that no main session was sent, which is how it should be: all code is importable.
    logging.getLogger(_START_UP_LOGGER).setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        if WORKER_LOG in os.environ:
            log = stack.enter_context(open(os.environ[WORKER_LOG], "a", encoding="utf-8"))
            sys.stderr = log
        sdk_worker_main.main([])


if __name__ == "__main__":
    main()
