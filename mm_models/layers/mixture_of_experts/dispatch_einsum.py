"""Tokens to experts and back by products with one-hot arrays, group by group.

Costs tokens × slots of a group in memory and operations, but only in matrix products: the form for
accelerators that are slow at gather and scatter. Same functions as in `dispatch_indexed`.
"""

import tensorflow as tf

from mm_models.layers.mixture_of_experts.routing import Assignment


def dispatch(tokens: tf.Tensor, assignment: Assignment) -> tf.Tensor:
    """What every expert reads: float[experts, groups * capacity, dim]."""
    chosen = _one_hot(assignment.filled, assignment, tokens.shape[1], tokens.dtype)
    # Fold groups into each expert's rows, so that an expert is one product.
    taken = tf.einsum("gtec,gtd->egcd", chosen, tokens)
    _, num_experts, capacity = assignment.tokens.shape
    return tf.reshape(taken, [num_experts, tf.shape(taken)[1] * capacity, tokens.shape[2]])


def combine(outputs: tf.Tensor, assignment: Assignment, num_tokens: int) -> tf.Tensor:
    """The outputs times their gates where the tokens were: float[groups, num_tokens, dim]."""
    _, num_experts, capacity = assignment.tokens.shape
    num_groups = tf.shape(assignment.tokens)[0]
    outputs = tf.reshape(outputs, [num_experts, num_groups, capacity, outputs.shape[2]])
    gates = _one_hot(assignment.gates, assignment, num_tokens, outputs.dtype)
    return tf.einsum("gtec,egcd->gtd", gates, outputs)


def _one_hot(values: tf.Tensor, assignment: Assignment, num_tokens: int, dtype) -> tf.Tensor:
    """`values` of the slots at their tokens: [groups, num_tokens, experts, capacity]."""
    places = tf.one_hot(assignment.tokens, num_tokens, axis=1, dtype=dtype)
    return places * tf.cast(values, dtype)[:, tf.newaxis]
