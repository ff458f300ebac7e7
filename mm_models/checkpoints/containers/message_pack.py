"""MessagePack with Flax's arrays in it: the one file that every T5X checkpoint has.

Only what Flax writes is read and written: maps, lists, strings, bytes, numbers, booleans, nil, and
arrays as extensions. Nothing in it can run code.
"""

import math
import struct
from typing import Any

import ml_dtypes
import numpy as np

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # codes of Flax's extensions
_CHUNKED = "__msgpack_chunked_array__"
_MAX_DEPTH = 64
# First byte to the struct format of a number, and of the length in front of a string, bytes, an
# extension, a list or a map.
_NUMBERS = {
    **dict(zip(range(0xCC, 0xD0), [">B", ">H", ">I", ">Q"], strict=True)),
    **dict(zip(range(0xD0, 0xD4), [">b", ">h", ">i", ">q"], strict=True)),
    0xCA: ">f",
    0xCB: ">d",
}
_LENGTHS = {
    **dict(zip((0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB), [">B", ">H", ">I"] * 2, strict=True)),
    **dict(zip((0xC7, 0xC8, 0xC9), [">B", ">H", ">I"], strict=True)),
    **dict(zip((0xDC, 0xDD, 0xDE, 0xDF), [">H", ">I"] * 2, strict=True)),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def unpack(content: bytes) -> Any:
    """The object that `content` holds, arrays as NumPy arrays.

    Raises:
        ValueError: it is no such content, or more than one object.
    """
    reader = _Reader(content)
    try:
        value = reader.value(0)
    except (struct.error, TypeError, LookupError) as error:
        raise ValueError(f"damaged at byte {reader.position} ({error})") from error
    if reader.position != len(content):
        raise ValueError(f"{len(content) - reader.position} bytes follow its end")
    return value


class _Reader:
    def __init__(self, content: bytes):
        self.content = memoryview(content)
        self.position = 0

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self.content):
            raise ValueError(f"ends at byte {len(self.content)}, before its last value")
        taken = self.content[self.position : end]
        self.position = end
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError(f"has more than {_MAX_DEPTH} levels")
        first = self.number(">B")
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 0x100
        if first < 0xC0:
            return self._short(first, depth)
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            return self.number(_NUMBERS[first])
        if 0xD4 <= first <= 0xD8:
            return self._extension(1 << (first - 0xD4))
        if first not in _LENGTHS:
            raise ValueError(f"has a byte {first:#x} that begins no value")
        return self._long(first, self.number(_LENGTHS[first]), depth)

    def _short(self, first: int, depth: int) -> Any:
        if first < 0x90:
            return self._map(first & 0x0F, depth)
        if first < 0xA0:
            return [self.value(depth + 1) for _ in range(first & 0x0F)]
        return str(self.take(first & 0x1F), "utf-8")

    def _long(self, first: int, length: int, depth: int) -> Any:
        if first <= 0xC6:
            return bytes(self.take(length))
        if first <= 0xC9:
            return self._extension(length)
        if first <= 0xDB:
            return str(self.take(length), "utf-8")
        if first <= 0xDD:
            return [self.value(depth + 1) for _ in range(length)]
        return self._map(length, depth)

    def _map(self, length: int, depth: int) -> Any:
        found = {}
        for _ in range(length):
            key = self.value(depth + 1)
            found[key] = self.value(depth + 1)
        if _CHUNKED not in found:
            return found
        shape = [found["shape"][str(axis)] for axis in range(len(found["shape"]))]
        chunks = [found["chunks"][str(index)] for index in range(len(found["chunks"]))]
        return np.concatenate(chunks).reshape(shape)

    def _extension(self, length: int) -> Any:
        code = self.number(">b")
        content = self.take(length)
        if code == _COMPLEX:
            return complex(*unpack(bytes(content)))
        if code not in (_ARRAY, _SCALAR):
            raise ValueError(f"has an extension {code}, which Flax does not write")
        inner = _Reader(content)
        shape, name, data = (_plain(inner) for _ in range(inner.number(">B") & 0x0F))
        array = np.frombuffer(data, _dtype(name)).reshape(shape)
        return array[()] if code == _SCALAR else array


def _plain(reader: _Reader) -> Any:
    """A shape, a name or the bytes of an array, the last without a copy."""
    first = reader.content[reader.position]
    if first not in (0xC4, 0xC5, 0xC6):
        return reader.value(0)
    reader.position += 1
    return reader.take(reader.number(_LENGTHS[first]))


def _dtype(name: str | memoryview) -> np.dtype:
    name = name if isinstance(name, str) else str(name, "ascii")
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def pack(value: Any) -> bytes:
    """The content of maps, lists, strings, whole numbers, booleans, None and arrays.

    Raises:
        TypeError: another kind of value.
    """
    if isinstance(value, dict):
        items = [pack(part) for item in value.items() for part in item]
        return struct.pack(">BI", 0xDF, len(value)) + b"".join(items)
    if isinstance(value, list | tuple):
        return struct.pack(">BI", 0xDD, len(value)) + b"".join(pack(item) for item in value)
    if isinstance(value, bool) or value is None:
        return bytes([{None: 0xC0, False: 0xC2, True: 0xC3}[value]])
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, str):
        content = value.encode("utf-8")
        return struct.pack(">BI", 0xDB, len(content)) + content
    if isinstance(value, np.ndarray):
        return _pack_array(value)
    raise TypeError(f"{type(value).__name__} is not written")


def _pack_array(array: np.ndarray) -> bytes:
    data = array.tobytes()
    if math.prod(array.shape) * array.dtype.itemsize != len(data):
        raise TypeError(f"an array of {array.dtype} is not written")
    content = b"\x93" + pack(list(array.shape)) + pack(array.dtype.name)
    content += struct.pack(">BI", 0xC6, len(data)) + data
    return struct.pack(">BIb", 0xC9, len(content), _ARRAY) + content
