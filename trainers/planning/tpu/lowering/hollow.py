"""Variables of any size that take no memory and no time to fill."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

# TensorFlow's kernels read memory that they did not allocate as if it were aligned like theirs.
_ALIGNMENT = 64


@contextlib.contextmanager
def hollow_variables() -> Iterator[None]:
    """Variables made inside have their shape and type, and zeros that nobody has written.

    The system gives an array of zeros its memory only where it is written or read, and TensorFlow
    takes arrays over as they are. Variables whose initial value is a tensor already are as ever.
    """

    def create(next_creator, **kwargs) -> tf.Variable:
        if callable(kwargs["initial_value"]):
            kwargs["initial_value"] = _unwritten(kwargs["initial_value"], kwargs.get("dtype"))
        return next_creator(**kwargs)

    with tf.variable_creator_scope(create):
        yield


def _unwritten(initial_value: Any, dtype: tf.DType | None) -> tf.Tensor:
    # In a graph that is never run an initializer says its shape and computes nothing.
    with tf.Graph().as_default():
        traced = tf.convert_to_tensor(initial_value(), dtype)
    kind = np.dtype(traced.dtype.as_numpy_dtype)
    size_bytes = int(np.prod(traced.shape.as_list())) * kind.itemsize
    memory = np.zeros(size_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    zeros = memory[start : start + size_bytes].view(kind).reshape(traced.shape.as_list())
    return tf.experimental.dlpack.from_dlpack(zeros.__dlpack__())
