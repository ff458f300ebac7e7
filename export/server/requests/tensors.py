"""TensorProto ↔ NumPy with every size checked before memory is taken."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from export.client.string_arrays import object_array
from export.server.requests.errors import invalid
from export.server.requests.limits import Limits
from export.server.requests.signature import FieldSpec, check_shape

_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    **dict.fromkeys((types_pb2.DT_INT8, types_pb2.DT_INT16, types_pb2.DT_INT32), "int_val"),
    **dict.fromkeys((types_pb2.DT_UINT8, types_pb2.DT_UINT16), "int_val"),
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}
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
    return _from_values(proto, field, shape, num_elements)


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
    proto: tensor_pb2.TensorProto, field: FieldSpec, shape: tuple[int, ...], num_elements: int
) -> np.ndarray:
    values = getattr(proto, _VALUE_FIELDS[proto.dtype])
    if len(values) not in (1, num_elements):
        raise invalid(
            f"input {field.name!r} has {len(values)} values, "
            f"its shape {list(shape)} needs {num_elements}"
        )
    if field.dtype == object:
        flat = object_array(values)
    else:
        wide = np.asarray(values)
        flat = wide.astype(field.dtype)
        if field.dtype.kind in "iu" and not np.array_equal(wide, flat):
            raise invalid(f"input {field.name!r} holds values outside {field.dtype_name}")
    # One value fills the whole tensor, as TensorFlow's own encoding of constants does.
    return np.broadcast_to(flat, num_elements).reshape(shape)


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
