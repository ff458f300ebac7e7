"""Variables that XLA's partitioner splits over the devices of a replica.

Everything of the model-parallel path that touches what TensorFlow does not promise to keep is in
this module and in `split_variable.py`.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

# Where Keras stands in the names of layers while it creates a variable.
from keras.src.backend.common.name_scope import current_path
from tensorflow.python.compiler.xla.experimental import xla_sharding
from tensorflow.python.eager import context


def path_of_new(name: str) -> str:
    """The path of the Keras variable that is being created under this name."""
    return "/".join(filter(None, (current_path(), name)))


def split(tensor: tf.Tensor, axis: int, num_parts: int) -> tf.Tensor:
    """The tensor itself, annotated as split on one axis; so is its gradient."""
    return xla_sharding.split(tensor, axis, num_parts, use_sharding_op=True)


def create(
    next_creator: Callable[..., tf.Variable],
    kwargs: dict[str, Any],
    axis_of: Callable[[str, tuple[int, ...]], int | None],
    num_parts: int,
) -> tf.Variable:
    """A new variable, annotated.

    Args:
        next_creator, kwargs: as a variable creator of TensorFlow gets them.
        axis_of: name and shape to the axis that is split, or None.
        num_parts: devices of a replica.
    """
    variable = next_creator(**kwargs)
    # Initializers keep the state of their random numbers in variables too.
    is_weight = variable.dtype.is_floating
    axis = axis_of(kwargs["name"], tuple(variable.shape)) if is_weight else None
    annotate(variable, axis, num_parts)
    return variable


def replicate(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor itself, annotated as whole on every device; so is its gradient."""
    return xla_sharding.replicate(tensor, use_sharding_op=True)


def annotate(variable: tf.Variable, axis: int | None, num_parts: int) -> None:
    """Lets every read of a variable, and its gradient, be annotated as split on an axis or as
    whole; of what is traced in `annotated_reads`."""
    sharding = xla_sharding.Sharding.replicate()
    if axis is not None:
        sharding = xla_sharding.Sharding.split(variable, axis, num_parts)
    variable._set_xla_sharding(sharding.proto)


def annotated_axis(variable: tf.Variable) -> int | None:
    """The axis that `annotate` was given; None for a variable that is whole."""
    sharding = variable._get_xla_sharding()
    if sharding is None:
        return None
    sizes = enumerate(sharding.tile_assignment_dimensions)
    return next((axis for axis, size in sizes if size > 1), None)


@contextlib.contextmanager
def annotated_reads() -> Iterator[None]:
    """Traces reads of annotated variables with their annotation."""
    context.enable_xla_sharding_for_resource_variables()
    try:
        yield
    finally:
        context.disable_xla_sharding_for_resource_variables()
