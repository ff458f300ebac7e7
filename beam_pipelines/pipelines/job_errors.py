"""What goes wrong in a job, as one sentence with a remedy."""

import contextlib
import errno
import os
import re
import tempfile
import traceback
from collections.abc import Iterator

from mm_models.errors import UserError

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


@contextlib.contextmanager
def job_errors() -> Iterator[None]:
    """Raises whatever a runner raises, before or during a job, as a UserError."""
    try:
        yield
    except UserError as error:
        # Beam adds the step to the text of whatever a worker in this process raises.
        raise UserError(_STEP.sub("", str(error))) from error
    except Exception as error:
        raise UserError(sentence(error)) from error


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Raises what disks and stores raise in the process that starts a job as a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(sentence(error)) from error


def sentence(error: Exception) -> str:
    """What a runner's exception says to the user.

    Where the cause is not a known one, the whole message is kept in a temporary file that the
    sentence names.
    """
    text = _STEP.sub("", str(error))
    said = _USER_ERROR.findall(text)
    if said:
        return said[-1].strip()
    words = f"{type(error).__name__}: {text}"
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, words):
            return remedy
    raised = _RAISED.findall(text)
    cause = raised[-1] if raised else " ".join(words.split())
    return f"the job failed: {cause.strip()}; {_where_the_rest_is(error)}"


def _where_the_rest_is(error: Exception) -> str:
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="mmstack-job-", suffix=".log", delete=False
        ) as log:
            log.write("".join(traceback.format_exception(error)))
    except OSError as full:
        return f"the whole message cannot be kept ({full})"
    return f"the whole message is in {log.name}"
