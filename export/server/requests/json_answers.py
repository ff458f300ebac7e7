"""NumPy → JSON for the REST protocol.

It is made in pieces: a long answer must not hold the interpreter's lock, and with it every other
connection, until it is whole.
"""

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from export.client.string_arrays import object_array
from export.server.requests.errors import Code, RequestError, invalid
from export.server.requests.limits import Limits
from export.server.requests.signature import Signature

_PIECE_ELEMENTS = 4096


def num_answer_bytes(outputs: Mapping[str, np.ndarray]) -> int:
    """Bytes of the numbers and strings themselves."""
    return sum(
        sum(len(value) for value in array.flat) if array.dtype == object else array.nbytes
        for array in outputs.values()
    )


def check_answer(outputs: Mapping[str, np.ndarray], limits: Limits) -> None:
    """Raises RequestError for an answer beyond the limit."""
    if num_answer_bytes(outputs) > limits.max_answer_bytes:
        raise _too_large(limits)


def answer_text(
    outputs: Mapping[str, np.ndarray], signature: Signature, limits: Limits, *, rows: bool
) -> str:
    """The reply in the request's format; bytes outputs (names ending in `_bytes`) as base64.

    A single output stands alone, several are keyed by name. Non-finite numbers, which have no JSON
    form, are null.

    Raises:
        RequestError: the text is longer than the limit, or `rows` of outputs that have none.
    """
    if rows and not all(array.ndim for array in outputs.values()):
        raise invalid(
            f"signature {signature.name!r} has outputs without rows: use `inputs`, not `instances`"
        )
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        pieces = _array_pieces(name, array)
    else:
        pieces = _row_pieces(outputs) if rows else _object_pieces(outputs)
    key = "predictions" if rows else "outputs"
    return _joined([f'{{"{key}": ', *_within(pieces, limits), "}"])


def json_text(value: Any, limits: Limits) -> str:
    """Any other reply. Raises RequestError as `answer_text` does."""
    try:
        return _joined(_within(json.JSONEncoder(allow_nan=False).iterencode(value), limits))
    except ValueError:
        return _joined(_within(json.JSONEncoder().iterencode(_without_non_finite(value)), limits))


def _within(pieces: Iterable[str], limits: Limits) -> Iterator[str]:
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > limits.max_answer_bytes:
            raise _too_large(limits)
        yield piece


def _joined(pieces: Iterable[str]) -> str:
    return "".join(pieces)


def _too_large(limits: Limits) -> RequestError:
    message = f"the answer is larger than {limits.max_answer_bytes} bytes; send fewer rows"
    return RequestError(Code.TOO_LARGE, message)


def _object_pieces(outputs: Mapping[str, np.ndarray]) -> Iterator[str]:
    for number, (name, array) in enumerate(outputs.items()):
        yield f"{', ' if number else '{'}{json.dumps(name)}: "
        yield from _array_pieces(name, array)
    yield "}"


def _row_pieces(outputs: Mapping[str, np.ndarray]) -> Iterator[str]:
    yield "["
    for number in range(min(len(array) for array in outputs.values())):
        yield ", " if number else ""
        yield from _object_pieces({name: array[number, ...] for name, array in outputs.items()})
    yield "]"


def _array_pieces(name: str, array: np.ndarray) -> Iterator[str]:
    if not np.ndim(array) or array.size <= _PIECE_ELEMENTS:
        yield _dumps(_to_json(name, np.asarray(array)))
        return
    elements_of_row = array.size // len(array)
    if elements_of_row > _PIECE_ELEMENTS:
        rows: Iterable[Iterator[str]] = (_array_pieces(name, row) for row in array)
    else:
        step = _PIECE_ELEMENTS // elements_of_row
        parts = (array[start : start + step] for start in range(0, len(array), step))
        rows = (iter([_dumps(_to_json(name, part))[1:-1]]) for part in parts)
    yield "["
    for number, row in enumerate(rows):
        yield ", " if number else ""
        yield from row
    yield "]"


def _to_json(name: str, array: np.ndarray) -> Any:
    """Values; bytes as text, or as base64 where the name ends in `_bytes` or they are no text."""
    if array.dtype != object:
        return array.tolist()
    encode = _base64_object if name.endswith("_bytes") else _text_or_base64
    return object_array([encode(value) for value in array.ravel()]).reshape(array.shape).tolist()


def _base64_object(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text_or_base64(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _base64_object(value)


def _dumps(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_without_non_finite(value))


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_non_finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_non_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
