"""Messages between a process and its decoding child: JSON for the shape, raw bytes for the rest.

Not pickle: a child that a hostile file has taken over must not be able to make its parent run
anything. A message is two uint64 lengths, a JSON text, and one body of concatenated blobs.
"""

import dataclasses
import json
import struct
from typing import BinaryIO

import numpy as np

from beam_pipelines.media.decode_contract import ClipMedia, DecodedMedia, DecodeRequest, MediaInfo
from beam_pipelines.rejects import Reject, RejectCode

HEADER = struct.Struct("<QQ")
_TYPES = {kind.__name__: kind for kind in (ClipMedia, DecodedMedia, DecodeRequest, MediaInfo)}
_DTYPES = ("uint8", "float32", "float64", "int16", "int32", "int64")


def write_message(file: BinaryIO, value: object) -> None:
    """Writes a value made of None, numbers, text, bytes, arrays, lists, dicts and our types."""
    body = bytearray()
    text = json.dumps(_pack(value, body)).encode()
    file.write(HEADER.pack(len(text), len(body)))
    file.write(text)
    file.write(body)
    file.flush()


def read_message(file: BinaryIO) -> object:
    """Reads one value.

    Raises:
        EOFError: the other side has closed the pipe.
    """
    text_length, body_length = HEADER.unpack(_read(file, HEADER.size))
    text = _read(file, text_length)
    return unpack(text, _read(file, body_length))


def unpack(text: bytes, body: bytes) -> object:
    """The value of a message's two parts.

    Raises:
        ValueError: not a message.
    """
    try:
        return _unpack(json.loads(text), memoryview(body))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"malformed message: {error!r}") from error


def _read(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise EOFError("the pipe is closed")
    return data


def _pack(value: object, body: bytearray) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Reject):
        return {"reject": [str(value.code), value.detail]}
    if isinstance(value, bytes):
        return {"bytes": _append(value, body)}
    if isinstance(value, np.ndarray):
        span = _append(np.ascontiguousarray(value).tobytes(), body)
        return {"array": span, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_pack(item, body) for item in value]}
    if type(value) in _TYPES.values():
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, "fields": _pack(fields, body)}
    if isinstance(value, dict):
        return {"dict": [[_pack(k, body), _pack(v, body)] for k, v in value.items()]}
    raise TypeError(f"{type(value).__name__} cannot cross the pipe")


def _append(blob: bytes, body: bytearray) -> list[int]:
    body += blob
    return [len(body) - len(blob), len(body)]


def _unpack(value: object, body: memoryview) -> object:
    if not isinstance(value, dict):
        return value
    if "reject" in value:
        code, detail = value["reject"]
        return Reject(RejectCode(code), str(detail))
    if "bytes" in value:
        return bytes(_span(value["bytes"], body))
    if "array" in value:
        return _unpack_array(value, body)
    if "list" in value:
        return [_unpack(item, body) for item in value["list"]]
    if "tuple" in value:
        return tuple(_unpack(item, body) for item in value["tuple"])
    if "dict" in value:
        return {_unpack(k, body): _unpack(v, body) for k, v in value["dict"]}
    return _TYPES[value["type"]](**_unpack(value["fields"], body))


def _unpack_array(value: dict, body: memoryview) -> np.ndarray:
    if value["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {value['dtype']!r} cannot cross the pipe")
    flat = np.frombuffer(_span(value["array"], body), value["dtype"])
    return flat.reshape(value["shape"]).copy()


def _span(bounds: list[int], body: memoryview) -> memoryview:
    start, end = bounds
    if not 0 <= start <= end <= len(body):
        raise ValueError("a blob lies outside the message")
    return body[start:end]
