"""Computing a part of a model again in the backward pass, instead of keeping what is inside."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def recompute(function: Callable[..., Any], *tensors: tf.Tensor) -> Any:
    """`function(*tensors)`, of which only the arguments are kept for the backward pass.

    The second computation costs the time of the first; what it saves is the memory of all that the
    function computes on its way. Random numbers have to be functions of a seed, or the two differ.
    In bfloat16 a compiler may round the two differently, in which a router's near ties may fall
    otherwise.

    Args:
        function: gives tensors in any structure; what it takes gradients for must be an argument or
            a variable, while masks and seeds may come from around it.
        tensors: floats.
    """
    structure: list[Any] = []

    def flat(*values):
        outputs = function(*values)
        structure[:] = [outputs]
        return tuple(tf.nest.flatten(outputs))

    outputs = tf.recompute_grad(flat)(*tensors)
    return tf.nest.pack_sequence_as(structure[0], tf.nest.flatten(outputs))
