"""The decoding child: `python -m beam_pipelines.media.child MEMORY_BYTES`, talking over pipes.

It limits itself before it touches a file, and never imports Beam or TensorFlow.
"""

import contextlib
import errno
import importlib
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Iterator

import av

from beam_pipelines.media import child_messages
from beam_pipelines.rejects import Reject, RejectCode

_MODULE = "beam_pipelines.media"
_FUNCTIONS = {
    "probe": f"{_MODULE}.probe:probe",
    "decode": f"{_MODULE}.decode:decode",
    "clip_media": f"{_MODULE}.decode:clip_media",
    "clip_windows": f"{_MODULE}.decode:clip_windows",
    "content_sha256": f"{_MODULE}.structure:content_sha256",
}
_CODE_BYTES = 4 << 30  # address space for libraries, which are mapped but hardly resident
_LOG_BYTES = 1 << 20
_SAID_CHARACTERS = 200
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
# The parent kills at the wall limit; this is for a child whose parent has died.
_ORPHAN_SECONDS = 10.0


def limit_resources(memory_bytes: int) -> None:
    """Caps writable memory, address space, size of written files and core dumps."""
    for name, value in (
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_AS, memory_bytes + _CODE_BYTES),
        (resource.RLIMIT_FSIZE, _LOG_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(name)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (soft, soft))


def main() -> None:
    """Serves calls until the parent closes the pipe."""
    limit_resources(int(sys.argv[1]))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the replies
    av.logging.restore_default_callback()  # to stderr, a file: Python's own could deadlock
    av.logging.set_libav_level(av.logging.ERROR)
    resolve("clip_media"), resolve("probe")
    child_messages.write_message(replies, "ready")
    while True:
        try:
            name, limits, arguments = child_messages.read_message(sys.stdin.buffer)
        except EOFError:
            return
        with _limited(*limits):
            try:
                child_messages.write_message(replies, _call(name, arguments))
            except MemoryError:  # while packing: nothing has been written yet
                child_messages.write_message(replies, {"result": _out_of_memory()})


@contextlib.contextmanager
def _limited(cpu_seconds: float, wall_seconds: float) -> Iterator[None]:
    """Lets the system kill this process by SIGPROF when its processor time, of all threads, is up.

    No handler is set: Python's would wait for the end of a library's loop.
    """
    signal.setitimer(signal.ITIMER_REAL, wall_seconds + _ORPHAN_SECONDS)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def resolve(name: str):
    """The function of a short name, or of `module:function`."""
    module, _, function = _FUNCTIONS.get(name, name).partition(":")
    return getattr(importlib.import_module(module), function)


def _call(name: str, arguments: list) -> dict:
    _clear_log()
    try:
        return {"result": _explain(resolve(name)(*arguments))}
    except MemoryError:
        return {"result": _out_of_memory()}
    except OSError as error:  # of the disk or network, which says nothing about the file
        return {"os_error": [error.errno or errno.EIO, str(error.strerror or error)]}
    except Exception:
        return {"error": traceback.format_exc()}


def _out_of_memory() -> Reject:
    detail = "decoding needs more memory than its process may have"
    return Reject(RejectCode.DECODE_MEMORY, detail)


def _clear_log() -> None:
    sys.stderr.flush()
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)


def _explain(result: object) -> object:
    """Adds to a reject what FFmpeg said first, which is most often the cause."""
    said = os.pread(2, _SAID_CHARACTERS, 0).decode(errors="replace").split("\n")[0].strip()
    said = _ADDRESS.sub("", said)  # addresses differ from run to run, rejects must not
    if not said or "not on whitelist" in said:
        return result
    if isinstance(result, Reject):
        return Reject(result.code, f"{result.detail} (first message: {said})")
    if isinstance(result, list) and result and isinstance(result[0], Reject):
        return [_explain(item) if isinstance(item, Reject) else item for item in result]
    return result


if __name__ == "__main__":
    main()
