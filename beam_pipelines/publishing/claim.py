"""Who writes an output: an owner file near it, whose lease its job renews while it lives.

The names of a job's work hold a random token, so that no two jobs ever share one, on one machine or
on several with a common disk. Ages are differences of the times that the disk or store itself gave
to two files, because clocks of machines disagree.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from beam_pipelines import files
from mm_models.errors import UserError

LEASE_SECONDS = 300.0
_RENEWALS_PER_LEASE = 10
_OWNER_FILE = "owner.json"
_TOKEN_BYTES = 16
_FURTHER_TRIES = 3
_PAUSE_SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class Claim:
    """The right of one job to write one output.

    Attributes:
        output: local path or URL.
        folder: `.tmp-<name>-<token>` beside the output, for all that is the job's alone.
    """

    output: str
    folder: str

    @property
    def owner_file(self) -> str:
        """File that says whose the folder is."""
        return files.join(self.folder, _OWNER_FILE)

    @property
    def work(self) -> str:
        """Folder for what will be the output."""
        return files.join(self.folder, "unfinished")

    @property
    def replaced(self) -> str:
        """Where an old output waits while the new one takes its name."""
        return files.join(self.folder, "replaced")

    def check(self) -> None:
        """Raises UserError when the claim was taken for that of a dead job, and removed."""
        if not files.exists(self.owner_file):
            raise UserError(
                f"--output {self.output}: this job was not heard of for {LEASE_SECONDS:g} s, and "
                "another took it for dead and removed its work; run it again"
            )


@contextlib.contextmanager
def claimed(output: str) -> Iterator[Claim]:
    """Claims an output while a block runs, and removes the claim's folder afterwards.

    What dead jobs left beside the output is removed first.

    Raises:
        UserError: another job writes the same output.
        OSError: nothing can be written beside it.
    """
    claim = _take(output)
    done = threading.Event()
    renewer = threading.Thread(target=_renew, args=(claim, done), daemon=True)
    renewer.start()
    try:
        yield claim
    finally:
        done.set()
        renewer.join()
        _remove(claim)


def _take(output: str) -> Claim:
    """Claims an output; of jobs that begin at once and refuse each other, one comes first later."""
    for _ in range(_FURTHER_TRIES):
        with contextlib.suppress(UserError):
            return _try_to_take(output)
        time.sleep(random.uniform(0, _PAUSE_SECONDS))
    return _try_to_take(output)


def _try_to_take(output: str) -> Claim:
    name = output.rsplit("/", 1)[-1]
    token = secrets.token_hex(_TOKEN_BYTES)
    claim = Claim(output, files.join(files.parent(output), f".tmp-{name}-{token}"))
    try:
        files.make_folder(claim.work)
        files.write_json(claim.owner_file, _this_process())
        # Only after the own file is there: of two jobs, at least one sees the other.
        for other in _others(claim):
            _refuse_living(claim, other)
            _remove(other)
    except BaseException:
        _remove(claim)
        raise
    return claim


def _renew(claim: Claim, done: threading.Event) -> None:
    while not done.wait(LEASE_SECONDS / _RENEWALS_PER_LEASE):
        # An error that passes leaves nine further renewals; a removed claim stays removed.
        with contextlib.suppress(OSError):
            if files.exists(claim.owner_file):
                files.write_json(claim.owner_file, _this_process())


def _others(claim: Claim) -> list[Claim]:
    """Claims of other jobs to the same output; another output's name may start with this one's."""
    parent, start = files.parent(claim.output), f".tmp-{claim.output.rsplit('/', 1)[-1]}-"
    pattern = re.compile(re.escape(start) + f"[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
    names = filter(pattern.fullmatch, files.folders_with(files.join(parent, start), _OWNER_FILE))
    claims = [Claim(claim.output, files.join(parent, name)) for name in names]
    return [other for other in claims if other != claim]


def _refuse_living(claim: Claim, other: Claim) -> None:
    try:
        owner = json.loads(files.read_bytes(other.owner_file))
    except FileNotFoundError:
        return  # It has just ended.
    except ValueError:
        owner = {}  # Cut while it was written; its age decides.
    if _has_ended(owner):
        return
    age = files.modified_seconds(claim.owner_file) - files.modified_seconds(other.owner_file)
    left_seconds = owner.get("lease_seconds", LEASE_SECONDS) - age
    if left_seconds > 0:
        raise UserError(
            f"--output {claim.output} is being written by process {owner.get('pid')} on "
            f"{owner.get('host')}; wait for it, or name another output (if it died, its claim ends "
            f"in {left_seconds:.0f} s)"
        )


def _remove(claim: Claim) -> None:
    """Removes a job's work; an old output that it had moved aside comes back if no other did."""
    if not files.is_remote(claim.output):
        if os.path.exists(claim.replaced) and not os.path.exists(claim.output):
            os.rename(claim.replaced, claim.output)
        files.delete_tree(claim.replaced)
    files.delete_tree(claim.work)
    files.delete_tree(claim.folder)


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _start_time(os.getpid()),
        "lease_seconds": LEASE_SECONDS,
    }


def _machine() -> str | None:
    """Names the range in which process ids mean something: a boot, and a container in it."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return None


def _start_time(pid: int) -> str | None:
    """When a process of this machine started, in ticks since the boot; None where there is none."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return status.rpartition(")")[2].split()[19]


def _has_ended(owner: dict[str, Any]) -> bool:
    """Whether a process is known to run no more, which only its own machine can tell."""
    machine = _machine()
    if machine is None or owner.get("machine") != machine:
        return False
    return _start_time(int(owner["pid"])) != owner["started"]
