"""Variables of any size that take no memory and no time to fill."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf


@contextlib.contextmanager
def hollow_variables() -> Iterator[None]:
    """Variables made inside have their shape and type, and zeros that nobody has written.

    TensorFlow takes over an array's memory, and the system gives an array of zeros its memory only
    where it is written or read. Variables whose initial value is a tensor already are as ever.
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
    return tf.constant(np.zeros(traced.shape.as_list(), traced.dtype.as_numpy_dtype))
