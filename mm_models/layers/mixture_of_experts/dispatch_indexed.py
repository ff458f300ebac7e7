"""Tokens to experts and back by gather and scatter: no operation grows with tokens × slots."""

import tensorflow as tf

from mm_models.layers.mixture_of_experts.routing import Assignment


def dispatch(tokens: tf.Tensor, assignment: Assignment) -> tf.Tensor:
    """What every expert reads.

    Args:
        tokens: float[groups, tokens, dim].
        assignment: of the same groups.

    Returns:
        float[experts, groups * capacity, dim]; empty slots hold zeros.
    """
    rows = tf.reshape(tokens, [-1, tokens.shape[2]])
    taken = tf.gather(rows, _flat_rows(assignment, tokens.shape[1]))
    return taken * _by_expert(assignment.filled, taken.dtype)


def combine(outputs: tf.Tensor, assignment: Assignment, num_tokens: int) -> tf.Tensor:
    """The experts' outputs times their gates, summed where the tokens were.

    Args:
        outputs: float[experts, groups * capacity, dim].
        assignment: see `dispatch`.
        num_tokens: of a group.

    Returns:
        float[groups, num_tokens, dim]; zeros for tokens that no expert took.
    """
    dim = outputs.shape[2]
    weighted = tf.reshape(outputs * _by_expert(assignment.gates, outputs.dtype), [-1, dim])
    rows = tf.reshape(_flat_rows(assignment, num_tokens), [-1])
    num_groups = tf.shape(assignment.tokens)[0]
    summed = tf.math.unsorted_segment_sum(weighted, rows, num_groups * num_tokens)
    return tf.reshape(summed, [-1, num_tokens, dim])


def _flat_rows(assignment: Assignment, num_tokens: int) -> tf.Tensor:
    """int32[experts, groups * capacity] row of each slot's token among all groups' tokens."""
    _, num_experts, capacity = assignment.tokens.shape
    starts = tf.range(tf.shape(assignment.tokens)[0]) * num_tokens
    rows = assignment.tokens + starts[:, tf.newaxis, tf.newaxis]
    rows = tf.transpose(rows, [1, 0, 2])
    return tf.reshape(rows, [num_experts, tf.shape(rows)[1] * capacity])


def _by_expert(values: tf.Tensor, dtype) -> tf.Tensor:
    """[groups, experts, capacity] -> [experts, groups * capacity, 1]."""
    _, num_experts, capacity = values.shape
    swapped = tf.transpose(values, [1, 0, 2])
    shape = [num_experts, tf.shape(values)[0] * capacity, 1]
    return tf.cast(tf.reshape(swapped, shape), dtype)
