"""A step as the TPU compiler takes it: one program for all replicas, with names for its parts."""

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainers import runs
from trainers.config.schema import ExperimentConfig
from trainers.data.parts.base import batch_specs
from trainers.loop.assembly import Assembly, assemble
from trainers.loop.declared_inputs import DeclaredInputs, without_absent
from trainers.loop.inputs import RecordInputs
from trainers.model_parallel.internals import annotated_axis, annotated_reads
from trainers.planning.tpu.internals import Partitioning, aliased_arguments
from trainers.planning.tpu.lowering.hollow import hollow_variables
from trainers.planning.tpu.lowering.one_program import OneProgramStrategy
from trainers.planning.tpu.lowering.refusals import refused_lowering


@dataclasses.dataclass(frozen=True)
class StepProgram:
    """A lowered step.

    Attributes:
        streams: whose batches it takes.
        num_replicas: that the program is for.
        hlo: serialized HLO module.
        num_partitions: devices that share each of its replicas.
        arguments: names of what it takes: tensors of the batch, and paths of variables.
        argument_bytes: that they take in all, without padding.
        split_axes: the axis of each argument that is split over the partitions, by its number.
        updates: the argument that a result is the next value of, by the result's number; the
            results before them are the step's outputs in the order of their names.
        graph: that it was lowered from; operations in `hlo` bear the names they have there.
    """

    streams: tuple[str, ...]
    num_replicas: int
    num_partitions: int
    hlo: bytes
    arguments: Sequence[str]
    argument_bytes: int
    split_axes: Mapping[int, int]
    updates: Mapping[int, int]
    graph: tf.Graph


def hollow_assembly(
    config: ExperimentConfig, num_replicas: int, model_parallel: int = 1
) -> Assembly:
    """The parts of a run as its shapes alone make them; no weight is written.

    Args:
        config: of the experiment.
        num_replicas: that its step is for.
        model_parallel: devices that share each replica.

    Raises:
        UserError: the experiment cannot be built, or a weight cannot be split.
    """
    config, _ = without_absent(config)
    runtime = dataclasses.replace(
        config.runtime,
        distribution_strategy="one_device",
        num_virtual_devices=0,
        jit_compile=True,
        model_parallel=model_parallel,
    )
    config = dataclasses.replace(config, runtime=runtime)
    strategy = tf.distribute.get_strategy()
    if num_replicas > 1:
        strategy = OneProgramStrategy(num_replicas)
    with hollow_variables():
        return assemble(config, DeclaredInputs(RecordInputs()), strategy, runs.build_task(config))


def lower(assembly: Assembly, streams: tuple[str, ...], examples: Mapping[str, int]) -> StepProgram:
    """The step of some streams, lowered.

    Args:
        assembly: from `hollow_assembly`.
        streams: as `Assembly.steps` names them.
        examples: of each stream on one replica.

    Raises:
        UserError: an operation has no form that compiles; says which, of what layer and file.
    """
    step = assembly.steps[streams]
    specs = {}
    for name in streams:
        one = dataclasses.replace(assembly.config.streams[name].input, batch_size=examples[name])
        specs |= {(name, key): spec for key, spec in batch_specs(one).items()}

    @tf.function(jit_compile=True, autograph=False)
    def run(*tensors):
        batches = {name: {} for name in streams}
        for (name, key), tensor in zip(specs, tensors, strict=True):
            batches[name][key] = tensor
        return step.update(*batches.values())

    with annotated_reads():
        traced = run.get_concrete_function(*specs.values())
    hlo = lowered(run, list(specs.values()), traced.graph)
    known = {id(variable.handle): (path, variable) for path, variable in assembly.named_variables()}
    captured = [known.get(id(tensor), ("a constant", None)) for tensor in traced.captured_inputs]
    variables = [variable for _, variable in captured if variable is not None]
    axes = {
        index: axis
        for index, (_, variable) in enumerate(captured, len(specs))
        if variable is not None and (axis := annotated_axis(variable)) is not None
    }
    return StepProgram(
        streams=streams,
        num_replicas=assembly.num_replicas,
        num_partitions=assembly.config.runtime.model_parallel,
        hlo=hlo,
        arguments=[*(key for _, key in specs), *(path for path, _ in captured)],
        argument_bytes=sum(_bytes(one) for one in (*specs.values(), *variables)),
        split_axes=axes,
        updates=aliased_arguments(hlo),
        graph=traced.graph,
    )


def lowered(
    function: tf.types.experimental.PolymorphicFunction,
    specs: Sequence[tf.TensorSpec],
    graph: tf.Graph,
) -> bytes:
    """A function as a serialized HLO module.

    Args:
        function: compiled with XLA.
        specs: of its arguments.
        graph: that it was traced into.

    Raises:
        UserError: an operation has no form that compiles; says which, of what layer and file.
    """
    try:
        # Kernels are registered by platform, and those of TPUs are not in TensorFlow's package.
        return function.experimental_get_compiler_ir(*specs)(
            stage="hlo_serialized", platform_name="CPU"
        )
    except ValueError as error:
        raise refused_lowering(error, graph) from error


def _bytes(tensor: tf.TensorSpec | tf.Variable) -> int:
    return tensor.shape.num_elements() * tensor.dtype.size


def partitioning_of(program: StepProgram) -> Partitioning:
    """What each device holds of a step: of weights, slots and averages a part, before and after."""
    results = {
        result: program.split_axes[argument]
        for result, argument in program.updates.items()
        if argument in program.split_axes
    }
    return Partitioning(program.num_replicas, program.num_partitions, program.split_axes, results)
