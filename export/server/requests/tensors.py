"""TensorProto ↔ NumPy with every size checked before memory is taken."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from export.client.string_arrays import object_array
from export.server.requests.errors import Code, RequestError, invalid
from export.server.requests.limits import Limits
from export.server.requests.signature import FieldSpec, check_shape

_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    **dict.fromkeys((types_pb2.DT_HALF, types_pb2.DT_BFLOAT16), "half_val"),
    **dict.fromkeys((types_pb2.DT_INT8, types_pb2.DT_INT16, types_pb2.DT_INT32), "int_val"),
    **dict.fromkeys((types_pb2.DT_UINT8, types_pb2.DT_UINT16), "int_val"),
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}
# What the values of a field of the message are; those of `half_val` are the bits of 16-bit floats.
_WIDE_DTYPES = {
    "float_val": np.float32,
    "double_val": np.float64,
    "half_val": np.int64,
    "int_val": np.int64,
    "int64_val": np.int64,
    "uint32_val": np.uint64,
    "uint64_val": np.uint64,
    "bool_val": np.bool_,
}
# Of a value of a string tensor in memory, beside its bytes.
_STRING_OVERHEAD_BYTES = 24
NUMPY_DTYPES = {number: np.dtype(tf.as_dtype(number).as_numpy_dtype) for number in _VALUE_FIELDS}
_ENUM_BY_DTYPE = {dtype: number for number, dtype in NUMPY_DTYPES.items()}


def dtype_name(number: int) -> str:
    """TensorFlow's name of a `DataType` number, such as `uint8` or `string`."""
    try:
        return tf.as_dtype(number).name
    except TypeError:
        return f"dtype number {number}"


def array_from_proto(proto: tensor_pb2.TensorProto, field: FieldSpec, limits: Limits) -> np.ndarray:
    """Decodes one input.

    Args:
        proto: what the client sent.
        field: what the signature expects.
        limits: bounds checked from the header alone, before anything is allocated.

    Returns:
        An array of the field's dtype and the announced shape.

    Raises:
        RequestError: naming the field.
    """
    if NUMPY_DTYPES.get(proto.dtype) != field.dtype:
        raise invalid(
            f"input {field.name!r} is {dtype_name(proto.dtype)}, expected {field.dtype_name}"
        )
    if proto.tensor_shape.unknown_rank or any(dim.size < 0 for dim in proto.tensor_shape.dim):
        raise invalid(f"input {field.name!r} has an unknown or negative dimension")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    check_shape(field, shape, limits)
    num_elements = int(np.prod(shape, dtype=np.int64))
    if proto.tensor_content:
        return _from_content(proto.tensor_content, field, shape, num_elements)
    return _from_values(proto, field, shape, limits)


def _from_content(
    content: bytes, field: FieldSpec, shape: tuple[int, ...], num_elements: int
) -> np.ndarray:
    if field.dtype == object:
        raise invalid(f"input {field.name!r}: strings go in string_val, not in tensor_content")
    expected_bytes = num_elements * field.dtype.itemsize
    if len(content) != expected_bytes:
        raise invalid(
            f"input {field.name!r} has {len(content)} bytes of tensor_content, "
            f"its shape {list(shape)} needs {expected_bytes}"
        )
    if field.dtype == bool:
        return (np.frombuffer(content, np.uint8) != 0).reshape(shape)
    return np.frombuffer(content, field.dtype).reshape(shape)


def _from_values(
    proto: tensor_pb2.TensorProto, field: FieldSpec, shape: tuple[int, ...], limits: Limits
) -> np.ndarray:
    num_elements = math.prod(shape)
    value_field = _VALUE_FIELDS[proto.dtype]
    values = getattr(proto, value_field)
    if len(values) not in (1, num_elements):
        raise invalid(
            f"input {field.name!r} has {len(values)} values, "
            f"its shape {list(shape)} needs {num_elements}"
        )
    if len(values) < num_elements:
        _check_filled(field, values[0], num_elements, limits)
    flat = object_array(values) if field.dtype == object else _numbers(values, value_field, field)
    # One value fills the whole tensor, as TensorFlow's own encoding of constants does.
    return np.broadcast_to(flat, num_elements).reshape(shape)


def _numbers(values: Sequence, value_field: str, field: FieldSpec) -> np.ndarray:
    wide = np.array(values, _WIDE_DTYPES[value_field])
    dtype = np.dtype(np.uint16) if value_field == "half_val" else field.dtype
    flat = wide.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(wide, flat):
        raise invalid(f"input {field.name!r} holds values outside {field.dtype_name}")
    return flat.view(field.dtype)


def _check_filled(field: FieldSpec, value: Any, num_elements: int, limits: Limits) -> None:
    """A few bytes must not become a tensor that could not have been sent whole."""
    is_string = field.dtype == object
    each = len(value) + _STRING_OVERHEAD_BYTES if is_string else field.dtype.itemsize
    if each * num_elements > limits.max_body_bytes:
        raise RequestError(
            Code.TOO_LARGE,
            f"input {field.name!r} is one value repeated to {each * num_elements} bytes, "
            f"the limit is {limits.max_body_bytes}",
        )


def array_to_proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Encodes an output or a client's input; strings are `object` arrays of bytes."""
    array = np.asarray(array)
    proto = tensor_pb2.TensorProto(dtype=_ENUM_BY_DTYPE[array.dtype])
    for length in array.shape:
        proto.tensor_shape.dim.add(size=length)
    if array.dtype == object:
        proto.string_val.extend(array.ravel().tolist())
    else:
        proto.tensor_content = array.tobytes()
    return proto
