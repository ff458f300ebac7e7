"""What fails around a program (disks, rights, networks, other processes), in a sentence each.

Libraries are recognised by the names of their exceptions, so that nothing heavy is imported.
"""

import errno
import os
import re

_ROOM = "make room there, then start the same command again"
_RIGHTS = "give this user rights there, or name another place"
_NETWORK = (
    "check the address, the network and the credentials of this machine (for gs:// "
    "GOOGLE_APPLICATION_CREDENTIALS), then start the same command again"
)
_PATH = "check that the path is right and still there"
_DISK = "the disk or file system fails; check it, or name another place"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "name a place whose file system takes larger files",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOENT: _PATH,
    errno.ENOTDIR: "a part of the path is a file; name another place",
    errno.EISDIR: "it is a folder; name a file",
    errno.EEXIST: "name another place, or remove what is there",
    errno.ENOTEMPTY: "name another place, or remove what is there",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ELOOP: "links there lead in a circle; name the place itself",
    errno.EMFILE: "allow this process more open files (`ulimit -n`)",
    errno.ENFILE: "too many files are open on this machine; close other programs",
    errno.ENOMEM: "end other programs, or use a smaller batch or fewer workers",
    errno.EIO: _DISK,
    errno.ESTALE: _DISK,
    errno.ETXTBSY: "another program is running it; wait until that has ended",
    errno.EBUSY: "another program is using it; wait until that has ended",
}
# Of TensorFlow's errors those that speak of the surroundings whatever raised them, and those that
# only do where the message says so: others are faults of a graph.
_TENSORFLOW_REMEDIES = {
    "PermissionDeniedError": _RIGHTS,
    "UnauthenticatedError": _NETWORK,
    "UnavailableError": _NETWORK,
    "DeadlineExceededError": _NETWORK,
}
_TENSORFLOW_MESSAGES = (
    (r"No space left on device|[Dd]isk quota exceeded", _ROOM),
    (r"Permission denied|Read-only file system|Operation not permitted", _RIGHTS),
    (r"File system scheme '\w+' not implemented", "use a local path or gs://"),
    (r"libcurl code|HTTP response code|retry attempts failed|bearer token", _NETWORK),
    (r"No such file or directory", _PATH),
    (r"[Nn]ot a directory", _REMEDIES[errno.ENOTDIR]),
    (r"Input/output error|Stale file handle", _DISK),
    (
        r"[Cc]ollective ops is aborted|Socket closed|[Cc]onnection (reset|refused)|failed to "
        r"connect to all|task \S+ (is down|heartbeat)|[Hh]eartbeat timeout|[Cc]oordination service",
        "another worker of TF_CONFIG ended or cannot be reached: look at its log, then start the "
        "same command on all of them, which go on from the last checkpoint",
    ),
    (
        r"OOM when allocating|[Oo]ut of memory",
        "use a smaller streams.<name>.input.batch_size, or cut it by trainer.accumulation_steps",
    ),
)
_CLOUD_MODULES = ("google", "apitools", "botocore", "boto3", "azure", "requests", "urllib3")
_PYTHON_ERROR = re.compile(r"\b\w+(?:Error)?: \[Errno (\d+)\] ([^\n]+)")
_LONGEST = 300


def explain(error: BaseException) -> str | None:
    """What happened and what to do, in one sentence; None for a fault of the program itself."""
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, MemoryError):
        return f"out of memory ({one_line(error) or 'no more to be had'}); use a smaller batch"
    if type(error).__module__.startswith("tensorflow."):
        return _of_tensorflow(error)
    if type(error).__module__.split(".")[0] in _CLOUD_MODULES:
        return f"{one_line(error)} ({type(error).__name__}); {_NETWORK}"
    if isinstance(error, ValueError) and "Unable to get filesystem" in str(error):
        # Beam's, for a scheme whose packages are not there.
        path = str(error).rpartition(" ")[2]
        return f"{path} cannot be reached: for gs:// install the extra `gcp`, or use a local path"
    return None


def _of_system(error: OSError) -> str:
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        network = isinstance(error, ConnectionError | TimeoutError) or error.filename is None
        remedy = _NETWORK if network else _PATH
    words = os.strerror(error.errno) if error.errno and error.errno > 0 else one_line(error)
    paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if _is_path(path)]
    return ": ".join([*paths[-1:], f"{words}; {remedy}"])


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike) and bool(name)


def _of_tensorflow(error: BaseException) -> str | None:
    text = one_line(error)
    wrapped = _PYTHON_ERROR.search(str(error))
    if wrapped is not None:
        # Of a Python function inside a data set.
        return f"{wrapped[2]}; {_REMEDIES.get(int(wrapped[1]), _PATH)}"
    for pattern, remedy in _TENSORFLOW_MESSAGES:
        if re.search(pattern, str(error)):
            return f"{text}; {remedy}"
    remedy = _TENSORFLOW_REMEDIES.get(type(error).__name__)
    return f"{text}; {remedy}" if remedy else None


def one_line(error: BaseException) -> str:
    """The message alone: TensorFlow's comes with the nodes of its graph and their origins."""
    text = str(getattr(error, "message", None) or error)
    if text.startswith("Graph execution error:"):
        places = ("Graph execution error:", "Detected at node", "  ")
        text = "\n".join(line for line in text.split("\n") if not line.startswith(places))
    text = re.sub(r"\{\{.*?\}\} ?| \[Op:\w+\]( name:)?", "", text)
    text = text.split("\n\t [[")[0].split("\nAdditional GRPC error information")[0]
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
