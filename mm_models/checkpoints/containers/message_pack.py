"""MessagePack with Flax's arrays in it: the one file that every T5X checkpoint has.

Nothing in it can run code: objects are maps, lists, strings, bytes, numbers, and arrays.
"""

from typing import Any

import msgpack
import numpy as np

from mm_models.checkpoints.containers import number_types

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # codes of Flax's extensions
_CHUNKED = "__msgpack_chunked_array__"


def unpack(content: bytes) -> Any:
    """The object that `content` holds, arrays as NumPy arrays.

    Raises:
        ValueError: it is no such content, or more than one object.
    """
    try:
        return msgpack.unpackb(content, ext_hook=_extension, object_hook=_whole)
    except (msgpack.UnpackException, TypeError, LookupError, OverflowError) as error:
        raise ValueError(f"damaged: {error}") from error


def _whole(found: dict[str, Any]) -> Any:
    """A map, or the array of which it holds the pieces."""
    if _CHUNKED not in found:
        return found
    shape = [found["shape"][str(axis)] for axis in range(len(found["shape"]))]
    chunks = [found["chunks"][str(index)] for index in range(len(found["chunks"]))]
    return np.concatenate(chunks).reshape(_checked_shape(shape))


def _extension(code: int, content: bytes) -> Any:
    if code == _COMPLEX:
        return complex(*msgpack.unpackb(content))
    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f"has an extension {code}, which Flax does not write")
    shape, name, data = msgpack.unpackb(content)
    name = name if isinstance(name, str) else str(name, "ascii")
    array = np.frombuffer(data, number_types.named(name)).reshape(_checked_shape(shape))
    return array[()] if code == _SCALAR else array


def _checked_shape(shape: list[int]) -> list[int]:
    """Raises ValueError for what is no shape: a -1 would mean `as it comes` to NumPy."""
    if any(not isinstance(size, int) or size < 0 for size in shape):
        raise ValueError(f"has an array of shape {shape}")
    return shape


def pack(value: Any) -> bytes:
    """The content of maps, lists, strings, whole numbers, booleans, None and arrays.

    Raises:
        TypeError: another kind of value.
    """
    return msgpack.packb(value, default=_packed_array)


def _packed_array(value: Any) -> msgpack.ExtType:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} is not written")
    return msgpack.ExtType(
        _ARRAY, msgpack.packb([list(value.shape), value.dtype.name, value.tobytes()])
    )
