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
from trainers.planning.tpu.hollow import hollow_variables
from trainers.planning.tpu.one_program import OneProgramStrategy
from trainers.planning.tpu.refusals import refused_lowering


@dataclasses.dataclass(frozen=True)
class StepProgram:
    """A lowered step.

    Attributes:
        streams: whose batches it takes.
        num_replicas: that the program is for.
        hlo: serialized HLO module.
        arguments: names of what it takes: tensors of the batch, and paths of variables.
        argument_bytes: that they take in all, without padding.
        graph: that it was lowered from; operations in `hlo` bear the names they have there.
    """

    streams: tuple[str, ...]
    num_replicas: int
    hlo: bytes
    arguments: Sequence[str]
    argument_bytes: int
    graph: tf.Graph


def hollow_assembly(config: ExperimentConfig, num_replicas: int) -> Assembly:
    """The parts of a run as its shapes alone make them; no weight is written.

    Args:
        config: of the experiment.
        num_replicas: that its step is for.

    Raises:
        UserError: the experiment cannot be built.
    """
    config, _ = without_absent(config)
    runtime = dataclasses.replace(
        config.runtime, distribution_strategy="one_device", num_virtual_devices=0, jit_compile=True
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

    traced = run.get_concrete_function(*specs.values())
    hlo = lowered(run, list(specs.values()), traced.graph)
    variables = _variables(assembly)
    names, sizes = [key for _, key in specs], [_bytes(spec) for spec in specs.values()]
    for tensor in traced.captured_inputs:
        name, variable = variables.get(id(tensor), ("a constant", None))
        names.append(name)
        sizes.append(_bytes(variable) if variable is not None else 0)
    return StepProgram(streams, assembly.num_replicas, hlo, names, sum(sizes), traced.graph)


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


def _variables(assembly: Assembly) -> dict[int, tuple[str, tf.Variable]]:
    """All variables with their names, by the identity of their handle."""
    named = [(each.path, each.value) for each in assembly.model.variables]
    for name, optimizer in assembly.optimizers.items():
        named += [
            (f"{name}: {each.path}", each.value)
            for group in optimizer.groups
            for each in group.optimizer.variables
        ]
    if assembly.averages is not None:
        named += [(each.name, each) for each in assembly.averages.values]
    named.append(("step", assembly.step))
    return {id(variable.handle): (name, variable) for name, variable in named}
