"""What a step must not have on a TPU: calls to the host, shapes that change, 64-bit floats."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from trainers.planning.tpu import internals

_HOST = ("infeed", "outfeed", "send", "recv", "send-done", "recv-done")
_HOST_CALLS = ("callback", "host", "py_func")
_WIDE_FLOATS = ("f64", "c128")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What stands out in a lowered program, by the names of its operations.

    Attributes:
        host: operations that ask the host.
        dynamic: operations whose shape depends on values.
        wide_floats: operations on 64-bit floating point, which TPUs emulate.
        custom_calls: how many calls by target.
        wide_integers: how many operations on 64-bit integers, which TPUs emulate too.
    """

    host: Sequence[str]
    dynamic: Sequence[str]
    wide_floats: Sequence[str]
    custom_calls: Mapping[str, int]
    wide_integers: int


def contents(hlo: bytes) -> Contents:
    """Looks through a serialized HLO module."""
    host, dynamic, wide, integers = [], [], [], 0
    calls: collections.Counter[str] = collections.Counter()
    for one in internals.instructions(hlo):
        name = one.operation or one.name
        if one.opcode in _HOST or any(word in one.target.lower() for word in _HOST_CALLS):
            host.append(name)
        if one.is_dynamic:
            dynamic.append(name)
        if any(kind in _WIDE_FLOATS for kind in one.kinds):
            wide.append(name)
        integers += any(kind in ("s64", "u64") for kind in one.kinds)
        calls.update([one.target] if one.opcode == "custom-call" else [])
    return Contents(host, dynamic, wide, dict(calls), integers)
