"""Record bytes: a `tf.train.SequenceExample` framed by hand.

Building the message through Python protobuf costs about twenty times more than writing its wire
format, which is small: three kinds of value lists inside two maps. Map entries are written in
sorted key order, so equal content gives equal bytes. A test holds the output equal to what protobuf
itself writes.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from beam_pipelines.record import contract

# Wire tags: field number * 8 + 2 (length-delimited) for every field used here.
_FIELD_1 = b"\x0a"
_FIELD_2 = b"\x12"
_FIELD_3 = b"\x1a"
_EMPTY: memoryview = memoryview(b"")
_INT64_MASK = (1 << 64) - 1

Value = Sequence[bytes] | Sequence[int] | Sequence[float] | np.ndarray
ContextValues = dict[str, Value]
SequenceValues = dict[str, Sequence[Value]]


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    pieces = bytearray()
    while value >= 128:
        pieces.append(value & 127 | 128)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)


def _message(tag: bytes, body: bytes) -> bytes:
    return b"".join((tag, _varint(len(body)), body))


def _bytes_feature(values: Iterable[bytes]) -> bytes:
    return _message(_FIELD_1, b"".join(_message(_FIELD_1, value) for value in values))


def _float_feature(values: Sequence[float] | np.ndarray) -> bytes:
    packed = np.asarray(values, dtype="<f4").tobytes()
    return _message(_FIELD_2, _message(_FIELD_1, packed) if packed else b"")


def _int64_feature(values: Iterable[int]) -> bytes:
    packed = b"".join(_varint(int(value) & _INT64_MASK) for value in values)
    return _message(_FIELD_3, _message(_FIELD_1, packed) if packed else b"")


_ENCODERS = {"bytes": _bytes_feature, "float": _float_feature, "int64": _int64_feature}


def _map_entry(key: str, message: bytes) -> bytes:
    return _message(_FIELD_1, _message(_FIELD_1, key.encode()) + _message(_FIELD_2, message))


def serialize(context: ContextValues, feature_lists: SequenceValues) -> bytes:
    """Bytes of one `tf.train.SequenceExample`.

    Args:
        context: record key → list of values; the dtype is the one `records.FEATURES` gives the key.
        feature_lists: record key → one list of values per step of the first axis.

    Returns:
        The serialised message, keys in sorted order.

    Raises:
        KeyError: for a key that the feature contract does not have in that place.
    """
    context_body = b"".join(
        _map_entry(key, _encoder(key, "context")(context[key])) for key in sorted(context)
    )
    lists_body = b"".join(
        _map_entry(key, _feature_list(key, feature_lists[key])) for key in sorted(feature_lists)
    )
    return _message(_FIELD_1, context_body) + _message(_FIELD_2, lists_body)


def _encoder(key: str, where: str):
    feature = contract.FEATURES[key]
    if feature.where != where:
        raise KeyError(f"{key} belongs in {feature.where}, not in {where}")
    return _ENCODERS[feature.dtype]


def _feature_list(key: str, steps: Sequence[Value]) -> bytes:
    encode = _encoder(key, "feature_lists")
    return b"".join(_message(_FIELD_1, encode(step)) for step in steps)


def pcm16(waveform: np.ndarray) -> bytes:
    """16-bit little-endian PCM of a waveform.

    Args:
        waveform: float32[samples] in [-1, 1]; values beyond are clipped.

    Returns:
        int16 little-endian samples, value / 32768 recovers the waveform within half a step.
    """
    scaled = np.rint(np.asarray(waveform, dtype=np.float64) * 32768.0)
    return np.clip(scaled, -32768, 32767).astype("<i2").tobytes()


class WireError(ValueError):
    """A record whose bytes are not a `tf.train.SequenceExample`."""


def parse(
    record: bytes, *, floats_as_arrays: bool = False
) -> tuple[dict[str, list], dict[str, list[list]]]:
    """Reads a record without TensorFlow, for inspection.

    Args:
        record: bytes of one `tf.train.SequenceExample`.
        floats_as_arrays: give floats as float32[values], which costs less for waveforms.

    Returns:
        (context: key → values, feature lists: key → one list of values per step).

    Raises:
        WireError: when the bytes are not such a message.
    """
    context: dict[str, list] = {}
    feature_lists: dict[str, list[list]] = {}
    view = memoryview(record)
    try:
        for field, body in _fields(view):
            for _, entry in _fields(body):
                parts = dict(_fields(entry))
                key = bytes(parts[1]).decode()
                value = parts.get(2, _EMPTY)
                if field == 1:
                    context[key] = _feature_values(value, floats_as_arrays)
                else:
                    feature_lists[key] = [
                        _feature_values(step, floats_as_arrays) for _, step in _fields(value)
                    ]
    except (IndexError, KeyError, UnicodeDecodeError, struct.error, ValueError) as error:
        raise WireError(f"not a SequenceExample: {error}") from error
    return context, feature_lists


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


def _fields(view: memoryview) -> Iterable[tuple[int, memoryview]]:
    """Length-delimited fields of a message, in order."""
    position = 0
    while position < len(view):
        tag, position = _read_varint(view, position)
        if tag & 7 != 2:
            raise WireError(f"wire type {tag & 7} in a message of length-delimited fields")
        size, position = _read_varint(view, position)
        if position + size > len(view):
            raise WireError("a field is longer than its message")
        yield tag >> 3, view[position : position + size]
        position += size


def _feature_values(feature: memoryview, floats_as_arrays: bool) -> Any:
    for kind, body in _fields(feature):
        if kind == 1:
            return [bytes(value) for _, value in _fields(body)]
        if kind == 2:
            arrays = [np.frombuffer(packed, "<f4") for _, packed in _fields(body)]
            array = np.concatenate(arrays) if arrays else np.zeros(0, np.float32)
            return array if floats_as_arrays else array.tolist()
        if kind == 3:
            return [x for _, packed in _fields(body) for x in _packed_int64(packed)]
    return []


def _packed_int64(packed: memoryview) -> list[int]:
    values, position = [], 0
    while position < len(packed):
        value, position = _read_varint(packed, position)
        values.append(value - (1 << 64) if value >> 63 else value)
    return values
