"""What goes wrong in a job, as one sentence with a remedy."""

import contextlib
import errno
import logging
import os
import pathlib
import re
import tempfile
import traceback
from collections.abc import Iterator

from mm_models.errors import UserError

# Names the file that worker processes on this machine write to instead of standard error.
WORKER_LOG = "MMSTACK_WORKER_LOG"
_TRACEBACK = "Traceback (most recent call last)"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
# Runners pass on what a worker raised as text: a whole traceback, or many.
_USER_ERROR = re.compile(r"\bUserError: (.+)")
_RAISED = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit): .+", re.MULTILINE)
_STEP = re.compile(r" \[while running '[^']*'\]")
_REMEDIES = (
    (
        r"Channel closed prematurely",
        "a worker process died, most often for lack of memory; use fewer --workers",
    ),
    (
        "|".join(re.escape(os.strerror(code)) for code in _FULL_DISK),
        "a disk is full, that of the output or that of temporary files (TMPDIR); make room, or "
        "name others",
    ),
    (
        r"Dataflow runner not available",
        "the Dataflow runner is in the extra `gcp`; run pip install 'mmstack[gcp]'",
    ),
    (
        r"StatusCode\.UNAVAILABLE|FutureTimeoutError|failed to connect",
        "no job server answers; start one, or mend --job_endpoint",
    ),
    (r"No such file or directory: 'java'", "the runner's job server needs Java; install it"),
    (r"DefaultCredentialsError", "no credentials; run `gcloud auth application-default login`"),
)


class _Apart(logging.Filter):
    """Keeps records with a traceback from a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info or _TRACEBACK in record.getMessage())


@contextlib.contextmanager
def job_errors() -> Iterator[None]:
    """Raises whatever a runner raises, before or during a job, as a UserError.

    What Beam and its workers log with tracebacks goes to a temporary file. Where the cause is not
    a known one, the file stays and the sentence names it.
    """
    with tempfile.TemporaryDirectory(prefix="mmstack-job-") as folder:
        log = pathlib.Path(folder, "job.log")
        try:
            with _tracebacks_in(log):
                yield
        except UserError as error:
            # Beam adds the step to the text of whatever a worker in this process raises.
            raise UserError(_STEP.sub("", str(error))) from error
        except Exception as error:
            said = sentence(error)
            if said is None:
                said = f"the job failed: {_cause(error)}; {_keep(log, error)}"
            raise UserError(said) from error


@contextlib.contextmanager
def _tracebacks_in(log: pathlib.Path) -> Iterator[None]:
    handlers, apart = list(logging.getLogger().handlers), _Apart()
    file = logging.FileHandler(log, encoding="utf-8", delay=True)
    file.setLevel(logging.WARNING)
    for handler in handlers:
        handler.addFilter(apart)
    logging.getLogger().addHandler(file)
    os.environ[WORKER_LOG] = str(log)
    try:
        yield
    finally:
        del os.environ[WORKER_LOG]
        logging.getLogger().removeHandler(file)
        file.close()
        for handler in handlers:
            handler.removeFilter(apart)


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Raises what disks and stores raise in the process that starts a job as a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(sentence(error) or f"the job failed: {error}") from error


def sentence(error: Exception) -> str | None:
    """What a runner's exception says to the user, where its cause is a known one."""
    text = _STEP.sub("", str(error))
    said = _USER_ERROR.findall(text)
    if said:
        return said[-1].strip()
    words = f"{type(error).__name__}: {text}"
    return next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, words)), None)


def _cause(error: Exception) -> str:
    """The last exception that is named in the text of one, in one line."""
    text = _STEP.sub("", str(error))
    raised = _RAISED.findall(text)
    return raised[-1].strip() if raised else f"{type(error).__name__}: {' '.join(text.split())}"


def _keep(log: pathlib.Path, error: Exception) -> str:
    """Says where the log and the traceback of an error are kept."""
    try:
        logged = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="mmstack-job-", suffix=".log", delete=False
        ) as kept:
            kept.write(logged + "".join(traceback.format_exception(error)))
    except OSError as full:
        return f"the whole message cannot be kept ({full})"
    return f"the whole message is in {kept.name}"
