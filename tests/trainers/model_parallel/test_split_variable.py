"""Split variables on CPU devices, and what a program for a TPU says of them; no TPU runs it."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.compiler.xla.xla_data_pb2 import OpSharding
from tensorflow.python import pywrap_mlir
from tensorflow.python.tpu import tpu

from mm_models.errors import UserError
from trainers import distribution
from trainers.model_parallel.split_variable import SplitVariable, create_on_tpu

VALUE = np.arange(24, dtype=np.float32).reshape(4, 6)
CPUS = [["/cpu:0", "/cpu:1"], ["/cpu:2", "/cpu:3"]]


def creator(**kwargs):
    kept = ("initial_value", "name", "dtype", "trainable")
    return tf.Variable(**{name: value for name, value in kwargs.items() if name in kept})


@pytest.fixture
def strategy():
    return tf.distribute.MirroredStrategy([name for row in CPUS for name in row][:2])


def made(strategy, axis, devices=CPUS):
    return create_on_tpu(
        strategy, devices, axis, creator, initial_value=tf.constant(VALUE), name="kernel"
    )


def test_every_device_holds_its_part_and_all_read_as_one(strategy):
    variable = made(strategy, 1)
    assert variable.shape == (4, 6)
    for replica in variable.values:
        assert isinstance(replica, SplitVariable)
        assert [part.shape.as_list() for part in replica.variables] == [[4, 3], [4, 3]]
        np.testing.assert_array_equal(replica.variables[1].numpy(), VALUE[:, 3:])
    assert [part.device[-5:] for one in variable.values for part in one.variables] == [
        "CPU:0",
        "CPU:1",
        "CPU:2",
        "CPU:3",
    ]
    np.testing.assert_array_equal(variable.numpy(), VALUE)
    variable.assign(VALUE + 1)
    variable.assign_add(VALUE)
    variable.assign_sub(np.ones_like(VALUE))
    for replica in variable.values:
        np.testing.assert_array_equal(replica.read_value(), 2 * VALUE)


def test_a_checkpoint_does_not_know_of_parts(strategy, tmp_path):
    for before, after in ((1, 0), (0, None), (None, 1)):
        saved = tf.train.Checkpoint(kernel=made(strategy, before))
        saved.kernel.assign(VALUE * 3)
        path = saved.save(str(tmp_path / f"{before}"))
        restored = tf.train.Checkpoint(kernel=made(strategy, after))
        restored.kernel.assign(VALUE * 0)
        restored.restore(path).assert_consumed()
        np.testing.assert_array_equal(restored.kernel.numpy(), VALUE * 3)
        np.testing.assert_array_equal(restored.kernel.values[1].read_value(), VALUE * 3)
        single = tf.train.Checkpoint(kernel=tf.Variable(VALUE))
        single.restore(path).assert_consumed()
        np.testing.assert_array_equal(single.kernel.numpy(), VALUE * 3)


def square():
    """A slice of 2 x 2 chips on one host."""
    return tf.tpu.experimental.Topology(
        mesh_shape=[2, 2, 1, 1],
        device_coordinates=[[[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]]],
    )


def test_replicas_are_devices_that_follow_one_another():
    places = distribution.neighbours(square(), 2)
    assert places.core_assignment.tolist() == [
        [[0, 0, 0, 0], [1, 0, 0, 0]],
        [[0, 1, 0, 0], [1, 1, 0, 0]],
    ]
    with pytest.raises(UserError, match="runtime.model_parallel is 3, which does not divide the 4"):
        distribution.neighbours(square(), 3)


def test_a_program_for_a_tpu_takes_the_parts():
    """Two replicas of two chips: what the compiler is told of the parts, reads and gradients."""
    with tf.Graph().as_default() as graph:
        topology = square()
        places = distribution.neighbours(topology, 2)
        devices = [
            [places.tpu_device(replica=one, logical_core=core, job="worker") for core in (0, 1)]
            for one in (0, 1)
        ]
        variable = made(tf.distribute.get_strategy(), 1, devices)

        def step(rows):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(rows @ tf.convert_to_tensor(variable))
            variable.assign_sub(tape.gradient(loss, variable))
            return loss

        tpu.replicate(
            step,
            [[tf.ones([2, 4])]] * 2,
            device_assignment=places,
            xla_options=tpu.XLAOptions(use_spmd_for_xla_partitioning=True),
        )
    found = {}
    for operation in graph.get_operations():
        found.setdefault(operation.type, []).append(operation)
    handles = found["TPUPartitionedInputV2"]
    assert [list(one.get_attr("partition_dims")) for one in handles] == [[1, 2], [1, 2]]
    # The value, its gradient, and the value after the update.
    assert len(found["XlaSharding"]) == 3
    for operation in (*handles, *found["XlaSharding"]):
        sharding = OpSharding.FromString(operation.get_attr("_XlaSharding"))
        assert list(sharding.tile_assignment_dimensions) == [1, 2]
        assert list(sharding.tile_assignment_devices) == [0, 1]
    assert len(found["AssignSubVariableOp"]) == 1


_PART, _WHOLE = (f"tensor<!tf_type.resource<tensor<4x{width}xf32>>>" for width in (3, 6))
_UPDATE = f"""
func.func @main(%first: {_PART}, %second: {_PART}) {{
  %handle = "tf.TPUPartitionedInputV2"(%first, %second) {{
    N = 2 : i64, _XlaSharding = "", partition_dims = [1, 2], is_packed = false
  }} : ({_PART}, {_PART}) -> {_WHOLE}
  %value = "tf.ReadVariableOp"(%handle) : ({_WHOLE}) -> tensor<4x6xf32>
  %next = "tf_device.cluster_func"(%value) {{
    func = @step, use_spmd_for_xla_partitioning = true, num_cores_per_replica = 2 : i64
  }} : (tensor<4x6xf32>) -> tensor<4x6xf32>
  "tf.AssignVariableOp"(%handle, %next) : ({_WHOLE}, tensor<4x6xf32>) -> ()
  func.return
}}
func.func @step(%value: tensor<4x6xf32>) -> tensor<4x6xf32> {{
  func.return %value : tensor<4x6xf32>
}}
"""


def test_the_pass_for_tpus_reads_and_writes_parts():
    """TensorFlow's compiler for TPUs, as far as a machine without one runs it: no value that
    crosses to a device is whole."""
    passes = "func.func(tf-tpu-resource-partition)"
    text = pywrap_mlir.experimental_run_pass_pipeline(_UPDATE, passes, False)
    moved = [line for line in text.splitlines() if "VariableOp" in line]
    assert len(moved) == 4
    assert all("tensor<4x3xf32>" in line and "4x6" not in line for line in moved)
    assert text.count("partition_dims = [1, 2]") == 2
