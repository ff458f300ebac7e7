"""A strategy whose replicas are one program, with collectives in it: what a TPU slice runs."""

import tensorflow as tf

from trainers.planning.tpu import internals


class OneProgramStrategy(tf.distribute.Strategy):
    """`num_replicas` replicas that run the program traced once.

    Functions under it can be lowered and compiled, not run: a collective is an operation of XLA,
    which only a program of several replicas can do. A TPU strategy traces the same.
    """

    def __init__(self, num_replicas: int):
        """Traces for so many replicas."""
        super().__init__(_OneProgram(self, num_replicas))


class _OneProgram(internals.OneDeviceExtended):
    def __init__(self, strategy: tf.distribute.Strategy, num_replicas: int):
        super().__init__(strategy, "/cpu:0")
        self._num_replicas = num_replicas

    @property
    def _num_replicas_in_sync(self) -> int:
        return self._num_replicas

    def _call_for_each_replica(self, fn, args, kwargs):
        with _ReplicaOfProgram(self._container_strategy(), internals.replica_id()):
            return fn(*args, **kwargs)


class _ReplicaOfProgram(tf.distribute.ReplicaContext):
    def all_reduce(self, reduce_op, value, options=None):
        """Sums or means over the replicas; so is the way back."""
        count = self.num_replicas_in_sync
        scale = 1.0 / count if reduce_op == tf.distribute.ReduceOp.MEAN else 1.0

        @tf.custom_gradient
        def reduced(one):
            def reduce(each):
                total = internals.all_reduce(each, count)
                return total if scale == 1.0 else total * tf.cast(scale, total.dtype)

            return reduce(one), reduce

        return tf.nest.map_structure(reduced, value)

    def all_gather(self, value, axis, options=None):
        """Every replica's rows; as on a TPU, a sum of tensors in which all other rows are 0.

        No gradient flows back.
        """

        def gathered(one):
            place = tf.one_hot(self.replica_id_in_sync_group, self.num_replicas_in_sync)
            spread = tf.tensordot(tf.cast(place, one.dtype), one, axes=0)
            return tf.concat(
                tf.unstack(internals.all_reduce(spread, self.num_replicas_in_sync)), axis
            )

        return tf.nest.map_structure(gathered, value)
