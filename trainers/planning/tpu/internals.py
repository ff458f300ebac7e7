"""The TPU compiler, called on a machine without TPUs.

Everything that touches what JAX, its library and TensorFlow do not promise to keep is in this
module; setup.py pins the versions it was written for (the extra `tpu-compile`).
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2
from tensorflow.python.distribute.one_device_strategy import OneDeviceExtended

from mm_models.errors import UserError

HOW_TO_INSTALL = "pip install 'mmstack[tpu-compile]'"
# Nobody is to look for a TPU or for the cloud's description of this machine, and several processes
# may compile at once, since none of them holds a device.
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    # Or it complains that this machine is no TPU host.
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}


class CompilerRefused(UserError):
    """The TPU compiler's own words about a program that it does not compile."""


__all__ = [
    "Compiled",
    "CompilerRefused",
    "LoweredInstruction",
    "OneDeviceExtended",
    "Partitioning",
    "aliased_arguments",
    "all_reduce",
    "check_installed",
    "compile_for",
    "compile_options",
    "fingerprint",
    "instructions",
    "operation_in_message",
    "replica_id",
    "stablehlo",
]


@dataclasses.dataclass(frozen=True)
class Partitioning:
    """How many devices run a program, and what each holds of it.

    Attributes:
        num_replicas: copies of the program, each on data of its own.
        num_partitions: devices that share one copy.
        arguments, results: the axis that is split over the partitions, by the number of an argument
            or result; those that are missing are whole on each.
    """

    num_replicas: int = 1
    num_partitions: int = 1
    arguments: Mapping[int, int] = dataclasses.field(default_factory=dict)
    results: Mapping[int, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler made of a program, for each device.

    Attributes:
        argument_bytes, result_bytes: with the padding of their layout.
        aliased_bytes: of results that stand in the place of arguments.
        temporary_bytes: of all other buffers, at their peak.
        code_bytes: of the program.
        flops, accessed_bytes: as the compiler counts operations and memory accesses; memory inside
            of the cores is among the latter.
        text: the optimized program, in the order in which it runs.
    """

    argument_bytes: int
    result_bytes: int
    aliased_bytes: int
    temporary_bytes: int
    code_bytes: int
    flops: float
    accessed_bytes: float
    text: str

    @property
    def total_bytes(self) -> int:
        """What a device needs."""
        kept = self.argument_bytes + self.result_bytes - self.aliased_bytes
        return kept + self.temporary_bytes + self.code_bytes


@dataclasses.dataclass(frozen=True)
class LoweredInstruction:
    """One instruction of a program as TensorFlow lowers it.

    Attributes:
        name, opcode: its own.
        operation: of the graph that it comes from.
        kinds: element types of its result.
        is_dynamic: whether a size of its result depends on values.
        target: of a custom call.
    """

    name: str
    opcode: str
    operation: str
    kinds: Sequence[str]
    is_dynamic: bool
    target: str


def check_installed() -> None:
    """Raises UserError with the command that installs what is missing."""
    os.environ.update(_ENVIRONMENT)
    try:
        import jax  # noqa: F401
        import libtpu  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--compile needs the TPU compiler, which is not installed ({error}); "
            f"install it with: {HOW_TO_INSTALL}"
        ) from error


def compile_for(topology: str, hlo: bytes, partitioning: Partitioning) -> Compiled:
    """Compiles a program for a TPU topology.

    Args:
        topology: name, such as `v5e:4x4`.
        hlo: serialized HLO module, as TensorFlow lowers a function.
        partitioning: over its first devices.

    Raises:
        UserError: a topology that the compiler does not know.
        CompilerRefused: it does not compile the program, or no device could hold it.
    """
    executable = _compile(hlo, _devices(topology), partitioning)
    memory, costs = executable.get_compiled_memory_stats(), executable.cost_analysis()
    return Compiled(
        argument_bytes=memory.argument_size_in_bytes,
        result_bytes=memory.output_size_in_bytes,
        aliased_bytes=memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        code_bytes=memory.generated_code_size_in_bytes,
        flops=costs["flops"],
        accessed_bytes=costs["bytes accessed"],
        text=executable.hlo_modules()[0].to_string(),
    )


def aliased_arguments(hlo: bytes) -> dict[int, int]:
    """The arguments of a serialized HLO module that results take the place of, by number of the
    result: variables that it updates."""
    module = hlo_pb2.HloModuleProto.FromString(hlo)
    return {
        entry.output_shape_index[0] if entry.output_shape_index else 0: entry.parameter_number
        for entry in module.input_output_alias.entries
    }


def fingerprint(hlo: bytes, partitioning: Partitioning) -> str:
    """What tells programs apart: a digest of the program without names that differ by process, and
    of the compiler."""
    check_installed()
    import libtpu

    text = stablehlo(hlo, partitioning).operation.get_asm(enable_debug_info=False)
    _, _, rest = text.partition("attributes")
    version = getattr(libtpu, "__version__", "")
    return hashlib.sha256(f"{version} {_numbered(rest)}".encode()).hexdigest()


def _numbered(module: str) -> str:
    """The text of a module with numbers for the names of its own functions, such as those of loops,
    which count what a process has traced before."""
    names = re.findall(r"func\.func private @([\w.\-]+)", module)
    numbers = {name: str(number) for number, name in enumerate(dict.fromkeys(names))}
    return re.sub(r"@([\w.\-]+)", lambda found: f"@{numbers.get(found[1], found[1])}", module)


def instructions(hlo: bytes) -> Iterator[LoweredInstruction]:
    """Every instruction of a serialized HLO module."""
    for computation in hlo_pb2.HloModuleProto.FromString(hlo).computations:
        for one in computation.instructions:
            shapes = list(_flat_shapes(one.shape))
            yield LoweredInstruction(
                name=one.name,
                opcode=one.opcode,
                operation=one.metadata.op_name,
                kinds=[
                    xla_data_pb2.PrimitiveType.Name(shape.element_type).lower() for shape in shapes
                ],
                is_dynamic=any(any(shape.is_dynamic_dimension) for shape in shapes),
                target=one.custom_call_target,
            )


def operation_in_message(hlo: bytes, message: str) -> str:
    """The operation of the first instruction whose name, or whose opcode and type, a message of the
    compiler has; empty for none."""
    words = set(re.split(r"[^\w.\-]+", message.lower()))
    for one in instructions(hlo):
        if one.name.lower() in words or (one.opcode in words and words & set(one.kinds)):
            return one.operation
    return ""


def _flat_shapes(shape: Any) -> Iterator[Any]:
    if not shape.tuple_shapes:
        yield shape
    for part in shape.tuple_shapes:
        yield from _flat_shapes(part)


def _devices(topology: str) -> list[Any]:
    check_installed()
    from jax.experimental import topologies

    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except Exception as error:
        if "INVALID_ARGUMENT" not in str(error):
            raise
        raise UserError(
            f"the TPU compiler knows no topology {topology!r} ({_first_line(error)}); give one "
            "that is sold, such as v5e:4x4"
        ) from error


def _compile(hlo: bytes, devices: list[Any], partitioning: Partitioning) -> Any:
    from jaxlib import _jax

    needed = partitioning.num_replicas * partitioning.num_partitions
    if needed > len(devices):
        raise UserError(
            f"{partitioning.num_replicas} replicas of {partitioning.num_partitions} devices each "
            f"are more than the {len(devices)} of the topology; give a larger one"
        )
    module, options = stablehlo(hlo, partitioning), compile_options(partitioning)
    used = _jax.DeviceList(tuple(devices[:needed]))
    try:
        return devices[0].client.compile(module, used, options)
    except _jax.JaxRuntimeError as error:
        raise CompilerRefused(str(error)) from error


def compile_options(partitioning: Partitioning) -> Any:
    """The options by which JAX's compilers lay a program out on devices."""
    from jaxlib import xla_client

    options = xla_client.CompileOptions()
    shape = (partitioning.num_replicas, partitioning.num_partitions)
    places = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    assignment = xla_client.DeviceAssignment.create(places)
    for one in (options, options.executable_build_options):
        one.num_replicas, one.num_partitions = shape
        one.device_assignment = assignment
    options.executable_build_options.use_spmd_partitioning = partitioning.num_partitions > 1
    return options


def stablehlo(hlo: bytes, partitioning: Partitioning) -> Any:
    """The program as the compiler takes it, with the splits of its arguments and results."""
    from jax._src.interpreters import mlir as jax_mlir
    from jaxlib import _jax
    from jaxlib.mlir import ir

    with jax_mlir.make_ir_context():
        module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(hlo))
        _remove_copies(module)
        count = ir.IntegerType.get_signless(32)
        attributes = module.operation.attributes
        attributes["mhlo.num_replicas"] = ir.IntegerAttr.get(count, partitioning.num_replicas)
        attributes["mhlo.num_partitions"] = ir.IntegerAttr.get(count, partitioning.num_partitions)
        if partitioning.num_partitions > 1:
            _split(module, "arg_attrs", partitioning.arguments, partitioning.num_partitions)
            _split(module, "res_attrs", partitioning.results, partitioning.num_partitions)
    return module


def _remove_copies(module: Any) -> None:
    """Takes out `mhlo.copy`, which TensorFlow writes for results that are variables and the TPU
    compiler refuses."""
    for operation in list(_operations(module.operation)):
        if operation.name == "mhlo.copy":
            operation.results[0].replace_all_uses_with(operation.operands[0])
            operation.erase()


def _operations(operation: Any) -> Iterator[Any]:
    for region in operation.regions:
        for block in region.blocks:
            for one in block.operations:
                yield one.operation
                yield from _operations(one.operation)


def _split(module: Any, kind: str, axes: Mapping[int, int], num_parts: int) -> None:
    """Writes the sharding of every argument or result of the program."""
    from jaxlib.mlir import ir

    (main,) = (
        one.operation
        for one in module.body.operations
        if ir.StringAttr(one.operation.attributes["sym_name"]).value == "main"
    )
    signature = ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value)
    types = signature.inputs if kind == "arg_attrs" else signature.results
    before = [{}] * len(types)
    if kind in main.attributes:
        before = [
            {one.name: one.attr for one in ir.DictAttr(each)} for each in main.attributes[kind]
        ]
    written = []
    for index, (type_, known) in enumerate(zip(types, before, strict=True)):
        rank = len(ir.RankedTensorType(type_).shape)
        text = _sharding(axes.get(index), rank, num_parts)
        written.append(ir.DictAttr.get(known | {"mhlo.sharding": ir.StringAttr.get(text)}))
    main.attributes[kind] = ir.ArrayAttr.get(written)


def _sharding(axis: int | None, rank: int, num_parts: int) -> str:
    """As XLA writes it."""
    if axis is None:
        return "{replicated}"
    sizes = ",".join(str(num_parts if place == axis else 1) for place in range(rank))
    return f"{{devices=[{sizes}]<=[{num_parts}]}}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def replica_id() -> tf.Tensor:
    """int32[] which replica runs the program that this is lowered into."""
    return gen_xla_ops.xla_replica_id()


def all_reduce(values: tf.Tensor, num_replicas: int) -> tf.Tensor:
    """The sum over the replicas of the program that this is lowered into."""
    everyone = tf.range(num_replicas)[None]
    return gen_xla_ops.xla_all_reduce(values, everyone, "Add", "CrossReplica")
