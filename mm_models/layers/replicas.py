"""Sums over the replicas of a step, for state that all of them keep alike."""

import tensorflow as tf


def sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """The sum of every replica's `values`; the values themselves where there is one."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def of_first_replica(values: tf.Tensor) -> tf.Tensor:
    """What the first replica has, on all of them."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    mine = tf.cast(context.replica_id_in_sync_group == 0, values.dtype)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values * mine)
