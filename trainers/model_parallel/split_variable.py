"""Variables of which every device of a TPU replica holds a part.

TensorFlow's own strategy gives each device of a replica a whole copy. What is here was traced, and
read and written on CPU devices; no TPU has run it (docs/tpu.md).
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.compiler.xla.experimental import xla_sharding
from tensorflow.python.distribute import distribute_utils, tpu_util
from tensorflow.python.distribute.tpu_replicated_variable import TPUReplicatedVariable
from tensorflow.python.distribute.tpu_values import TPUMirroredVariable
from tensorflow.python.ops import gen_tpu_partition_ops
from tensorflow.python.trackable.base import VARIABLE_VALUE_KEY

Creator = Callable[..., tf.Variable]


class SplitVariable(TPUReplicatedVariable):
    """One variable of a replica, in parts on its devices.

    Outside of the TPU it reads and takes whole values, so that a checkpoint does not know in how
    many parts it was kept. On the TPU its handle stands for all parts, and the compiler deals the
    value out.

    Attributes:
        axis: that is split.
    """

    def __init__(self, parts: Sequence[tf.Variable], axis: int, name: str):
        """Takes variables of equal shape, in the order of the devices."""
        super().__init__(parts, name)
        self.axis = axis

    @property
    def shape(self) -> tf.TensorShape:
        """Of the whole."""
        sizes = self._vars[0].shape.as_list()
        sizes[self.axis] *= len(self._vars)
        return tf.TensorShape(sizes)

    @property
    def handle(self) -> tf.Tensor:
        """Stands for all parts. Raises NotImplementedError outside of a program for the TPU."""
        if tpu_util.enclosing_tpu_context() is None:
            raise NotImplementedError(f"{self.name} has one handle only inside of a TPU's program")
        count = len(self._vars)
        dims = [count if axis == self.axis else 1 for axis in range(self.shape.rank)]
        with tpu_util.outside_or_skip_tpu_context():
            tensor = gen_tpu_partition_ops.tpu_partitioned_input_v2(
                [part.handle for part in self._vars], partition_dims=dims, is_packed=False
            )
        return xla_sharding.split(tensor, self.axis, count, input_shape=self.shape.as_list())

    def read_value(self) -> tf.Tensor:
        """The whole value."""
        return tf.concat([part.read_value() for part in self._vars], self.axis)

    def _update(self, update_fn: Callable[..., Any], value: Any, **kwargs: Any) -> tf.Operation:
        values = tf.split(tf.convert_to_tensor(value, self.dtype), len(self._vars), self.axis)
        done = []
        for part, own in zip(self._vars, values, strict=True):
            with tf.device(part.device):
                done.append(update_fn(part, own, **kwargs))
        return tf.group(*done)

    def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
        return {VARIABLE_VALUE_KEY: self.read_value()}

    def _export_to_saved_model_graph(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("models are exported from checkpoints, not from a TPU")

    def _copy_trackable_to_cpu(self, object_map: Any) -> None:
        raise NotImplementedError("parts of a variable are copied by reading it")


class _AnnotatedVariable(TPUMirroredVariable):
    """A variable of all replicas, of which reads are annotated, and so are gradients."""

    def _read_variable_op(self) -> tf.Tensor:
        value = super()._read_variable_op()
        if tpu_util.enclosing_tpu_context() is None:
            return value
        if not isinstance(self._primary, SplitVariable):
            return xla_sharding.replicate(value, use_sharding_op=True)
        count = len(self._primary.variables)
        return xla_sharding.split(value, self._primary.axis, count, use_sharding_op=True)


def create_on_tpu(
    strategy: tf.distribute.Strategy,
    devices: Sequence[Sequence[str]],
    axis: int | None,
    next_creator: Creator,
    **kwargs: Any,
) -> tf.Variable:
    """A variable of every replica, split or whole on each of its devices.

    Args:
        strategy: that keeps the replicas equal.
        devices: names, by replica and by place in it.
        axis: that is split, or None.
        next_creator, kwargs: as a variable creator of TensorFlow gets them; the initial value is a
            tensor.
    """
    kinds = dict(distribute_utils.TPU_VARIABLE_CLASS_MAPPING)
    for each in (tf.VariableSynchronization.AUTO, tf.VariableSynchronization.ON_WRITE):
        kinds[each] = _AnnotatedVariable

    def create(**options: Any) -> list[tf.Variable]:
        return [
            _of_replica(replica, own, axis, next_creator, options)
            for replica, own in enumerate(devices)
        ]

    policies = distribute_utils.TPU_VARIABLE_POLICY_MAPPING
    return distribute_utils.create_mirrored_variable(strategy, create, kinds, policies, **kwargs)


def _of_replica(
    replica: int,
    devices: Sequence[str],
    axis: int | None,
    next_creator: Creator,
    options: dict[str, Any],
) -> tf.Variable:
    whole = options["initial_value"]
    values = [whole] * len(devices) if axis is None else tf.split(whole, len(devices), axis)
    parts = []
    for device, value in zip(devices, values, strict=True):
        with tf.device(device):
            parts.append(next_creator(**options | {"initial_value": value}))
    name = f"{parts[0].name.partition(':')[0]}/r:{replica}"
    return TPUReplicatedVariable(parts, name) if axis is None else SplitVariable(parts, axis, name)
