"""Decoding in a child process that may crash, hang or run out of memory without harm to us."""

import os
import pathlib
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time

import beam_pipelines
from beam_pipelines.media import child_messages
from beam_pipelines.rejects import Reject, RejectCode

_START_TIMEOUT_SECONDS = 120.0
_READ_BYTES = 1 << 20
_LOG_TAIL_BYTES = 400
_ROOT = str(pathlib.Path(beam_pipelines.__file__).resolve().parent.parent)


class DecoderError(RuntimeError):
    """A bug: the function raised in the child, or the child cannot start."""


class DecoderStartError(DecoderError):
    """The child cannot start, which says nothing about any file."""


class _TimedOut(Exception):
    pass


class _Died(Exception):
    pass


class IsolatedDecoder:
    """Owns one child process; a context manager. Calls are made one at a time.

    The child is started by the first call, fresh and not forked, and again after it was killed.

    Args:
        cpu_seconds: processor time of one call, over all threads: what a file costs, which does not
            depend on what else the machine does.
        wall_seconds: time after which a call is given up all the same, because the disk hangs or
            the machine is overloaded. Generous, since other work decides how soon it is reached.
        memory_bytes: writable memory of the child, of which about 100 MB are its own.
    """

    def __init__(
        self,
        cpu_seconds: float = 120.0,
        wall_seconds: float = 1800.0,
        memory_bytes: int = 2 << 30,
    ):
        if min(cpu_seconds, wall_seconds, memory_bytes) <= 0:
            raise ValueError("cpu_seconds, wall_seconds and memory_bytes must be positive")
        self._cpu_seconds = cpu_seconds
        self._wall_seconds = wall_seconds
        self._memory_bytes = memory_bytes
        self._child: subprocess.Popen | None = None
        self._log = None
        self._lock = threading.Lock()

    def __enter__(self) -> "IsolatedDecoder":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child, if there is one. A later call starts another."""
        with self._lock:
            self._stop()

    def run(self, function_name: str, path: str, *arguments: object) -> object:
        """Calls a function with `path` and `arguments` in the child.

        Args:
            function_name: `probe`, `decode`, `clip_media`, `clip_windows`, `content_sha256`, or any
                `module:function` that the child can import.
            path: the media file.
            *arguments: what the function takes after the path, most often a `DecodeRequest`.

        Returns:
            Its result, or a `Reject`: `decode_timeout`, `decode_memory`, `decoder_crashed`. For
            `clip_windows` such a reject stands for every window.

        Raises:
            DecoderError: the function raised, which is a bug.
            DecoderStartError: the child cannot start.
            OSError: the disk or network failed, which says nothing about the file.
        """
        with self._lock:
            result = self._call(function_name, [str(path), *arguments])
        if function_name == "clip_windows" and isinstance(result, Reject):
            return [result] * len(arguments[1])
        return result

    def _call(self, function_name: str, arguments: list) -> object:
        self._ensure_started()
        try:
            message = [function_name, [self._cpu_seconds, self._wall_seconds], arguments]
            child_messages.write_message(self._child.stdin, message)
            reply = self._receive(self._wall_seconds)
        except _TimedOut:
            self._stop()
            detail = f"no result within {self._wall_seconds:g} s, however little was computed"
            return Reject(RejectCode.DECODE_TIMEOUT, detail)
        except (_Died, BrokenPipeError, ValueError):
            return self._death()
        if "os_error" in reply:
            raise OSError(*reply["os_error"], arguments[0])
        if "error" in reply:
            raise DecoderError(f"{function_name} failed in the child:\n{reply['error']}")
        result = reply["result"]
        if isinstance(result, Reject) and result.code == RejectCode.DECODE_MEMORY:
            self._stop()  # what is left of the failed call would narrow the next one
        return result

    def _ensure_started(self) -> None:
        if self._child is not None and self._child.poll() is None:
            return
        self._stop()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _stop)
        paths = [_ROOT, os.environ.get("PYTHONPATH", "")]
        limits = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "beam_pipelines.media.child", str(self._memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | limits | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        try:
            self._receive(_START_TIMEOUT_SECONDS)
        except (_TimedOut, _Died, ValueError) as error:
            said = self._log_tail()
            self._stop()
            raise DecoderStartError(
                f"the decoding child did not start with memory_bytes={self._memory_bytes}: {said}"
            ) from error

    def _receive(self, timeout_seconds: float) -> object:
        deadline = time.monotonic() + timeout_seconds
        lengths = child_messages.HEADER.unpack(self._read(child_messages.HEADER.size, deadline))
        if sum(lengths) > 2 * self._memory_bytes:
            raise ValueError("the child announces more than it can hold")
        text, body = (self._read(length, deadline) for length in lengths)
        return child_messages.unpack(text, body)

    def _read(self, length: int, deadline: float) -> bytes:
        data = bytearray()
        descriptor = self._child.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while len(data) < length:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not selector.select(remaining):
                    raise _TimedOut
                block = os.read(descriptor, min(length - len(data), _READ_BYTES))
                if not block:
                    raise _Died
                data += block
        return bytes(data)

    def _death(self) -> Reject:
        """What to call the end of a child that we did not kill."""
        said = self._log_tail()
        try:
            status = self._child.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            status = 0
        self._stop()
        if status == -signal.SIGPROF:
            detail = f"decoding takes more than {self._cpu_seconds:g} s of processor time"
            return Reject(RejectCode.DECODE_TIMEOUT, detail)
        if status == -signal.SIGKILL:
            return Reject(RejectCode.DECODE_MEMORY, "the system killed the decoder for memory")
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return Reject(RejectCode.DECODER_CRASHED, f"the decoder died: {name} {said}".rstrip())

    def _log_tail(self) -> str:
        size_bytes = os.fstat(self._log.fileno()).st_size
        start = max(size_bytes - _LOG_TAIL_BYTES, 0)
        tail = os.pread(self._log.fileno(), _LOG_TAIL_BYTES, start)
        return tail.decode(errors="replace").strip().replace("\n", " | ")

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()
        if self._log is not None:
            self._log.close()
            self._log = None
