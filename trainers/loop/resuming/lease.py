"""One trainer a run folder: a file says who trains there, and is renewed while it does.

Whether a holder on this machine lives is looked up; one on another machine, of a shared disk, is
watched until it renews its lease or the lease expires, by the own clock alone.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import NoReturn

import tensorflow as tf

from mm_models.errors import UserError

FILE = "lease.json"
RENEW_SECONDS = 10.0
EXPIRY_SECONDS = 60.0
POLL_SECONDS = 1.0
# Longer than a rival needs from its look at an expired lease to its own.
SETTLE_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who trains in a run folder.

    Attributes:
        host, pid: its process, for people.
        machine: what `pid` counts in: this boot of this machine, and the process namespace there.
        process_start: what tells it from a later process of that number; empty: not known.
        token: its own, unguessable.
        renewals: how often it has renewed its lease.
    """

    host: str
    pid: int
    machine: str
    process_start: str
    token: str
    renewals: int = 0

    def __str__(self) -> str:
        """The process and its machine."""
        return f"process {self.pid} on {self.host}"

    def is_gone(self) -> bool | None:
        """Whether the process has ended; None where that cannot be seen from here."""
        if not self.machine or self.machine != _machine():
            return None
        return _process_start(self.pid) != self.process_start


class Lease:
    """This process's right to train in a run folder, from `take` to `give_back`."""

    def __init__(self, model_dir: str, say: Callable[[str], None]):
        """Touches no file; `say` shows a line."""
        self._path = os.path.join(model_dir, FILE)
        self._model_dir, self._say = model_dir, say
        start = _process_start(os.getpid())
        self._own = Holder(socket.gethostname(), os.getpid(), _machine(), start, uuid.uuid4().hex)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def look(self) -> None:
        """Raises UserError while a process that is seen to live trains in the folder; writes
        nothing."""
        found = _read(self._path)
        if found is not None and found.is_gone() is False:
            self._refuse(found)

    def take(self) -> None:
        """Raises UserError while another process trains in the folder."""
        if not self._create():
            found = _read(self._path)
            if found is not None:
                self._wait_for_expiry(found)
                self._say(f"{found} left {self._path} behind; this process takes over")
            self._write()
            time.sleep(SETTLE_SECONDS)
            self.check()
        self._thread.start()

    def check(self) -> None:
        """Raises UserError when another process has taken over, as after this one was asleep."""
        found = _read(self._path)
        if found is None or found.token != self._own.token:
            who = "nobody" if found is None else str(found)
            raise UserError(
                f"{self._path} names {who}, not this process, which must not write there any more; "
                "see who trains in that folder, and start the same command again to resume"
            )

    def give_back(self) -> None:
        """Removes the file, if it still is this process's."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        found = _read(self._path)
        if found is not None and found.token == self._own.token:
            tf.io.gfile.remove(self._path)

    def _create(self) -> bool:
        """Makes the file where there is none; false where there is one, or where a file system
        knows no such operation."""
        if "://" in self._path:
            return False
        temporary = self._temporary()
        pathlib.Path(temporary).write_text(self._text(), encoding="utf-8")
        try:
            os.link(temporary, self._path)
        except OSError:
            return False
        finally:
            os.remove(temporary)
        return True

    def _text(self) -> str:
        return json.dumps(dataclasses.asdict(self._own), indent=1) + "\n"

    def _write(self) -> None:
        temporary = self._temporary()
        with tf.io.gfile.GFile(temporary, "w") as file:
            file.write(self._text())
        tf.io.gfile.rename(temporary, self._path, overwrite=True)

    def _temporary(self) -> str:
        """This process's alone, unlike that of `write_text`."""
        return os.path.join(self._model_dir, f".tmp-{FILE}-{self._own.token}")

    def _wait_for_expiry(self, holder: Holder) -> None:
        """Returns once `holder` is known to be gone. Raises UserError when it lives."""
        gone = holder.is_gone()
        if gone is None:
            self._say(
                f"{self._path} names {holder}; waiting up to {EXPIRY_SECONDS:.0f} s to see whether "
                "it still trains there"
            )
            gone = _expires(self._path, holder)
        if not gone:
            self._refuse(holder)

    def _refuse(self, holder: Holder) -> NoReturn:
        raise UserError(
            f"{holder} trains in --model_dir {self._model_dir} already; wait until it ends, or "
            "stop it, or give another --model_dir"
        )

    def _renew(self) -> None:
        complained = False
        while not self._ended.wait(RENEW_SECONDS):
            try:
                found = _read(self._path)
                if found is None or found.token != self._own.token:
                    # `check` says so before the next checkpoint.
                    return
                self._own = dataclasses.replace(self._own, renewals=self._own.renewals + 1)
                self._write()
            except (tf.errors.OpError, OSError) as error:
                if not complained:
                    self._say(f"cannot renew {self._path} ({str(error).splitlines()[0]})")
                complained = True


def _expires(path: str, holder: Holder) -> bool:
    """Watches a lease until it is renewed (false), or gone or too old (true)."""
    deadline = time.monotonic() + EXPIRY_SECONDS
    while time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        found = _read(path)
        if found is None:
            return True
        if found != holder:
            return False
    return True


def _read(path: str) -> Holder | None:
    """Who holds the lease; None where there is no file."""
    try:
        with tf.io.gfile.GFile(path, "r") as file:
            text = file.read()
    except tf.errors.NotFoundError:
        return None
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        # Not of our making, or torn by a machine that went down: watched like any stranger's.
        return Holder("an unknown machine", 0, "", "", text)


def _machine() -> str:
    """This boot of this machine and the process namespace; empty where that is not known."""
    with contextlib.suppress(OSError):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _process_start(pid: int) -> str:
    """When a process started, in ticks of this boot; empty when there is none."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The name before it may hold anything, brackets too.
        state, *fields = text.rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    return ""
