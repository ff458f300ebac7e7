"""Files of plain values, JSON or pickle, read without running what a pickle may name."""

import io
import math
import pickle
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import parse_line
from mm_models.errors import UserError

_PLAIN = {
    (module, name): kind
    for module in ("builtins", "__builtin__")
    for name, kind in (("set", set), ("frozenset", frozenset))
}
_SHOWN_CHARACTERS = 40
_PICKLE_FAULTS = (
    *(pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError),
    *(TypeError, ValueError, OverflowError, MemoryError, RecursionError),
)
Where = str
"""Place in a file, as errors name it."""


class _PlainUnpickler(pickle.Unpickler):
    """Makes dicts, lists, tuples, sets, strings and numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The only classes that a pickle may name. Raises UnpicklingError for others."""
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which reading it would run")
        return _PLAIN[module, name]


def unpickled(content: bytes) -> Any:
    """The value of a pickle of plain values, also of Python 2.

    Raises:
        ValueError: it is damaged, or names anything but plain types.
    """
    # Byte strings of Python 2 are text.
    reader = _PlainUnpickler(io.BytesIO(content), encoding="utf-8", errors="replace")
    try:
        return reader.load()
    except _PICKLE_FAULTS as error:
        raise ValueError(f"no pickle of plain values: {error}") from error


def read_values(path: str, flag: str) -> Any:
    """The value that a file holds, local or URL: JSON where its first sign is `{` or `[`, or else
    a pickle of dicts, lists, tuples, sets, strings and numbers.

    Raises:
        UserError: it cannot be read, is damaged, or is a pickle that names anything else.
    """
    try:
        content = files.read_bytes(path)
        is_json = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
        return parse_line(content) if is_json else unpickled(content)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{flag} {path} cannot be read: {error}") from error


def shown(value: Any) -> str:
    """A value as messages show it."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def _wrong(where: Where, field: str, expected: str, value: Any) -> UserError:
    return UserError(f"{where}, field {field}: expected {expected}, found {shown(value)}")


def field_of(entry: Any, field: str, where: Where) -> Any:
    """Value of a field. Raises UserError where `entry` is no object, or lacks it."""
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected an object, found {shown(entry)}")
    if field not in entry:
        raise UserError(f"{where}, field {field}: missing")
    return entry[field]


def text_field(entry: Any, field: str, where: Where) -> str:
    """Text of a field, or UserError."""
    value = field_of(entry, field, where)
    if not isinstance(value, str):
        raise _wrong(where, field, "text", value)
    return value


def int_field(entry: Any, field: str, where: Where) -> int:
    """Whole number of a field, or UserError."""
    value = field_of(entry, field, where)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(where, field, "a whole number", value)
    return value


def list_field(entry: Any, field: str, where: Where) -> list[Any]:
    """List of a field, which pickles may have as a tuple, or UserError."""
    value = field_of(entry, field, where)
    if not isinstance(value, list | tuple):
        raise _wrong(where, field, "a list", value)
    return list(value)


def number_field(entry: Any, field: str, where: Where, *, above: float = -math.inf) -> float:
    """Finite number of a field that is larger than `above`, or UserError."""
    return checked_numbers([field_of(entry, field, where)], 1, field, where, above=above)[0]


def checked_numbers(
    values: Any, count: int, field: str, where: Where, *, above: float = -math.inf
) -> list[float]:
    """So many finite numbers that are larger than `above`, or UserError."""
    is_list = isinstance(values, list | tuple) and len(values) == count
    if not is_list or not all(_is_number(value, above) for value in values):
        least = f" above {above:g}" if above > -math.inf else ""
        numbers = "a number" if count == 1 else f"{count} numbers"
        raise _wrong(where, field, numbers + least, values[0] if is_list and count == 1 else values)
    return [float(value) for value in values]


def _is_number(value: Any, above: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and above < value < 1e15
