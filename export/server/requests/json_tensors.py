"""JSON → NumPy for the REST protocol: row (`instances`) and column (`inputs`) formats."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from export.client.string_arrays import object_array
from export.server.requests.errors import invalid
from export.server.requests.limits import Limits
from export.server.requests.signature import FieldSpec, Signature

_STRINGS_AND_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
REQUEST_KEYS = frozenset({"instances", "inputs", "signature_name"})


def parse_body(body: bytes | bytearray, limits: Limits) -> dict[str, Any]:
    """Parses and checks the outer object.

    Raises:
        RequestError: for text that is no JSON, is nested too deeply, or has the wrong keys.
    """
    _check_depth(body, limits)
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise invalid("JSON is nested too deeply") from None
    except ValueError as error:
        raise invalid(f"body is not JSON: {str(error)[:200]}") from None
    if not isinstance(parsed, dict):
        raise invalid("body must be a JSON object with `instances` or `inputs`")
    unknown = sorted(str(key)[:80] for key in parsed if key not in REQUEST_KEYS)
    if unknown:
        raise invalid(f"body has unknown keys {unknown[:5]}; known are {sorted(REQUEST_KEYS)}")
    if ("instances" in parsed) == ("inputs" in parsed):
        raise invalid("body needs either `instances` (rows) or `inputs` (columns)")
    if not isinstance(parsed.get("signature_name", ""), str):
        raise invalid("`signature_name` must be a string")
    return parsed


def arrays_from_request(parsed: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    """Arrays by input name from a parsed body of either format. Raises RequestError."""
    if "instances" in parsed:
        columns = _columns_from_rows(parsed["instances"], signature)
    else:
        columns = _columns_from_inputs(parsed["inputs"], signature)
    signature.check_names(columns)
    return {name: array_from_json(value, signature.inputs[name]) for name, value in columns.items()}


def array_from_json(value: Any, field: FieldSpec) -> np.ndarray:
    """One input from nested lists. Raises RequestError naming the field."""
    if field.dtype == object:
        return _strings(value, field)
    try:
        array = np.asarray(value)
        # NumPy makes a float of an integer beyond int64 that stands beside others.
        wide = field.kind in "iu" and array.dtype.kind in "fO"
        exact = np.asarray(value, object) if wide else None
    except (ValueError, OverflowError):
        raise invalid(f"input {field.name!r} is ragged: {field.describe()} expected") from None
    if exact is not None and all(type(entry) is int for entry in exact.ravel()):
        return _integers(exact, field)
    return _cast(array, field)


def _integers(exact: np.ndarray, field: FieldSpec) -> np.ndarray:
    """Of an array of Python's integers. Raises RequestError for one that the field cannot hold."""
    bounds = np.iinfo(field.dtype)
    if exact.size and not (bounds.min <= exact.min() and exact.max() <= bounds.max):
        raise invalid(f"input {field.name!r} holds values outside {field.dtype_name}")
    return exact.astype(field.dtype)


def _cast(array: np.ndarray, field: FieldSpec) -> np.ndarray:
    accepted = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}[field.kind]
    if array.size and array.dtype.kind not in accepted:
        kinds = {"U": "strings", "b": "booleans", "f": "fractions"}
        given = kinds.get(array.dtype.kind, "something that is no plain number")
        raise invalid(f"input {field.name!r} holds {given}, expected {field.describe()}")
    with np.errstate(over="ignore"):
        cast = array.astype(field.dtype)
    if field.dtype.kind in "iu" and not np.array_equal(cast, array):
        raise invalid(f"input {field.name!r} holds values outside {field.dtype_name}")
    return cast


def _strings(value: Any, field: FieldSpec) -> np.ndarray:
    flat: list[bytes] = []
    shape = _flatten(value, field, flat, depth=0)
    return object_array(flat).reshape(shape)


def _flatten(value: Any, field: FieldSpec, flat: list[bytes], depth: int) -> tuple[int, ...]:
    if not isinstance(value, list):
        flat.append(_one_string(value, field))
        return ()
    if field.shape is not None and depth >= len(field.shape):
        raise invalid(f"input {field.name!r} is nested deeper than {field.describe()}")
    shapes = {_flatten(entry, field, flat, depth + 1) for entry in value}
    if len(shapes) > 1:
        raise invalid(f"input {field.name!r} is ragged: {field.describe()} expected")
    return (len(value), *(next(iter(shapes)) if shapes else ()))


def _one_string(value: Any, field: FieldSpec) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise invalid(f"input {field.name!r} holds text that is no valid Unicode") from None
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise invalid(f"input {field.name!r} holds a `b64` that is not base64") from None
    raise invalid(
        f"input {field.name!r} holds a {type(value).__name__} where a string or "
        '{"b64": "..."} is expected'
    )


def _columns_from_inputs(inputs: Any, signature: Signature) -> dict[str, Any]:
    if isinstance(inputs, dict) and set(inputs) != {"b64"}:
        return inputs
    if len(signature.inputs) != 1:
        raise invalid(
            f"`inputs` must be an object keyed by input name: {signature.describe_inputs()}"
        )
    return {next(iter(signature.inputs)): inputs}


def _columns_from_rows(instances: Any, signature: Signature) -> dict[str, list]:
    if not isinstance(instances, list) or not instances:
        raise invalid("`instances` must be a list with at least one row")
    if not all(field.has_free_rows for field in signature.inputs.values()):
        raise invalid(f"signature {signature.name!r} takes no rows: use `inputs`")
    named = [isinstance(row, dict) and set(row) != {"b64"} for row in instances]
    if not any(named):
        if len(signature.inputs) != 1:
            raise invalid(
                f"each row must be an object keyed by input name: {signature.describe_inputs()}"
            )
        return {next(iter(signature.inputs)): instances}
    if not all(named):
        raise invalid("`instances` mixes rows keyed by name with plain rows")
    signature.check_names(instances[0])
    for number, row in enumerate(instances):
        if row.keys() != instances[0].keys():
            raise invalid(f"row {number} of `instances` has other inputs than row 0")
    return {name: [row[name] for row in instances] for name in instances[0]}


def _check_depth(body: bytes | bytearray, limits: Limits) -> None:
    # Few brackets cannot nest deeply: the usual body of a few base64 strings is not scanned at all.
    if body.count(b"[") + body.count(b"{") <= limits.max_nesting_depth:
        return
    depth = 0
    for match in _STRINGS_AND_BRACKETS.finditer(body):
        token = match.group()
        if token in (b"[", b"{"):
            depth += 1
            if depth > limits.max_nesting_depth:
                raise invalid(f"JSON is nested deeper than {limits.max_nesting_depth}")
        elif token in (b"]", b"}"):
            depth -= 1


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
