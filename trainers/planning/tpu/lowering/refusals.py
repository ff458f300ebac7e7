"""Why a step does not compile, in terms of its layers and their code."""

import re

import tensorflow as tf

from mm_models.errors import UserError
from trainers.planning.tpu import internals
from trainers.planning.tpu.lowering.origins import Origins

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_NEEDED = re.compile(r"\(([\d.]+)([KMGTP]?)\) exceeds available HBM \(([\d.]+)([KMGTP]?)\)")
_MENTIONED = (r"\{\{node ([^}]+)\}\}", r"[nN]ode [`'\"]([^`'\"]+)[`'\"]", r'op_name="([^"]+)"')


class OutOfMemory(UserError):
    """A device does not have what the program needs.

    Attributes:
        needed_bytes: for temporaries.
        available_bytes: in all.
    """

    def __init__(self, needed_bytes: int, available_bytes: int):
        super().__init__(
            f"the step needs {needed_bytes / 2**30:,.1f} GiB for temporaries alone, and a device "
            f"has {available_bytes / 2**30:,.2f} GiB; use a smaller batch, rematerialization, more "
            "accumulation steps or model parallelism"
        )
        self.needed_bytes, self.available_bytes = needed_bytes, available_bytes


def refused_lowering(error: Exception, graph: tf.Graph) -> UserError:
    """What TensorFlow says of an operation that it has no XLA form of."""
    text = str(error)
    reason = text.split("Failed getting HLO text: ")[-1].strip("'").splitlines()[0]
    reason = re.sub(r"when trying to compile graph \S+ on \S+: ", "", reason)
    reason = re.sub(r"\{\{node [^}]+\}\}", "", reason.partition(" (No registered")[0])
    return UserError(f"{_named(_mentioned(text), graph)} does not compile: {reason}")


def refused_program(error: internals.CompilerRefused, hlo: bytes, graph: tf.Graph) -> UserError:
    """What the TPU compiler says of a program: OutOfMemory, or an operation that it does not
    know."""
    text = str(error)
    sizes = _NEEDED.search(text)
    if sizes:
        needed, needed_unit, available, available_unit = sizes.groups()
        return OutOfMemory(_size(needed, needed_unit), _size(available, available_unit))
    name = _mentioned(text) or internals.operation_in_message(hlo, text)
    reason = text.partition("Suspected Python")[0].strip()
    return UserError(f"{_named(name, graph)} does not compile for a TPU: {reason}")


def _mentioned(text: str) -> str:
    """The first operation that a message names."""
    for pattern in _MENTIONED:
        match = re.search(pattern, text)
        if match:
            return match.group(1)
    return ""


def _named(name: str, graph: tf.Graph) -> str:
    if not name:
        return "the step"
    origin = Origins(graph).find(name)
    layer = f" of layer {origin.layer}" if origin.layer else ""
    source = f" ({origin.source})" if origin.source else ""
    return f"operation {origin.kind or 'unknown'} {name.rpartition('/')[2]}{layer}{source}"


def _size(number: str, unit: str) -> int:
    return int(float(number) * 1024 ** _UNITS[unit])
