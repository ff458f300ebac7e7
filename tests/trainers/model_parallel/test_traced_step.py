"""A step as TensorFlow's TPU strategy traces it for four chips; no TPU runs it."""

import collections
import dataclasses
import pathlib

import keras
import pytest
import tensorflow as tf
from tensorflow.python.tpu.tpu_system_metadata import TPUSystemMetadata

from trainers import distribution, runs
from trainers.config.loading import load_config
from trainers.data.parts.base import batch_specs
from trainers.loop.assembly import assemble
from trainers.loop.declared_inputs import DeclaredInputs, without_absent
from trainers.loop.inputs import RecordInputs
from trainers.model_parallel.internals import annotated_axis
from trainers.model_parallel.split_variable import SplitVariable
from trainers.planning.tpu.lowering.program import hollow_assembly

CONFIG = pathlib.Path(__file__).parents[3] / "configs" / "pali" / "digits_debug.yaml"
TOPOLOGY = tf.tpu.experimental.Topology(
    mesh_shape=[2, 2, 1, 1],
    device_coordinates=[[[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]]],
)
Device = collections.namedtuple("Device", "name device_type")


class _Square:
    """Says what a resolver says of a slice of 2 x 2 chips."""

    tpu_hardware_feature = None

    def get_tpu_system_metadata(self):
        names = [f"/job:worker/replica:0/task:0/device:TPU:{index}" for index in range(4)]
        return TPUSystemMetadata(
            num_cores=4,
            num_hosts=1,
            num_of_cores_per_host=4,
            topology=TOPOLOGY,
            devices=[Device(name, "TPU") for name in names],
        )

    def cluster_spec(self):
        return tf.train.ClusterSpec({})


def _traced(config, monkeypatch):
    """Graph and assembly of the step of all four chips."""
    runtime = dataclasses.replace(config.runtime, distribution_strategy="tpu", model_parallel=2)
    config = dataclasses.replace(config, runtime=runtime)
    with tf.Graph().as_default() as graph:
        strategy = tf.distribute.TPUStrategy(
            _Square(),
            experimental_device_assignment=distribution.neighbours(TOPOLOGY, 2),
            experimental_spmd_xla_partitioning=True,
        )
        assert strategy.num_replicas_in_sync == 2
        task = runs.build_task(config)
        assembly = assemble(config, DeclaredInputs(RecordInputs()), strategy, task)
        (step,) = (step for streams, step in assembly.steps.items() if streams == ("captions",))
        replica = dataclasses.replace(config.streams["captions"].input, batch_size=4)
        batch = {
            name: strategy.experimental_distribute_values_from_function(
                lambda _, spec=spec: tf.zeros(spec.shape, spec.dtype)
            )
            for name, spec in batch_specs(replica).items()
        }
        # A graph that no function encloses compares tensors by identity.
        monkeypatch.setattr(tf.Tensor, "__ne__", lambda left, right: tf.math.not_equal(left, right))
        step.update(batch)
    return graph, assembly


def _axis(variable):
    (first, second) = variable.values
    assert type(first) is type(second)
    return first.axis if isinstance(first, SplitVariable) else None


@pytest.mark.slow
def test_training_splits_what_is_compiled_ahead(monkeypatch):
    """Every weight, slot and average, with handles, reads and updates that say so."""
    config, _ = without_absent(load_config([str(CONFIG)], ["trainer.ema.decay=0.9"]))
    keras.backend.clear_session()
    ahead = hollow_assembly(config, 2, 2)
    expected = {name: annotated_axis(one) for name, one in ahead.named_variables()}
    keras.backend.clear_session()
    graph, assembly = _traced(config, monkeypatch)
    named = assembly.named_variables()
    found = {name.removesuffix("/r"): _axis(variable) for name, variable in named}
    assert found == expected
    by_type = collections.defaultdict(list)
    for operation in graph.get_operations():
        by_type[operation.type].append(operation)
    split = [one for one in by_type["TPUPartitionedInputV2"] if one.get_attr("partition_dims")]
    num_split = sum(axis is not None for axis in found.values())
    assert len(split) == 2 * num_split and num_split > 100
    trained = [each for group in assembly.optimizers["main"].groups for each in group.variables]
    # Of every gradient, and of sums of losses.
    assert len(by_type["CrossReplicaSum"]) > len(trained)
