"""Runs what would be compiled for a TPU on virtual CPU devices."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.planning.tpu import internals
from trainers.planning.tpu.internals import Partitioning


def run_on_cpu(
    hlo: bytes, arguments: Sequence[Sequence[np.ndarray]], partitioning: Partitioning
) -> list[list[np.ndarray]]:
    """Runs a program on virtual CPU devices, one for each partition of each replica.

    Args:
        hlo: serialized HLO module, as `compile_for` takes it.
        arguments: of each replica, whole; split ones are cut here.
        partitioning: what each device holds.

    Returns:
        Results of each replica, whole.
    """
    internals.check_installed()
    import jax
    from jaxlib import _jax, xla_client

    jax.config.update("jax_enable_x64", True)
    num_parts = partitioning.num_partitions
    client = xla_client.make_cpu_client(num_devices=len(arguments) * num_parts)
    devices = client.devices()
    module, options = (
        internals.stablehlo(hlo, partitioning),
        internals.compile_options(partitioning),
    )
    program = client.compile_and_load(module, _jax.DeviceList(tuple(devices)), options)
    given = []
    for index, values in enumerate(zip(*arguments, strict=True)):
        axis = partitioning.arguments.get(index)
        parts = [part for value in values for part in _parts(value, axis, num_parts)]
        held = [jax.device_put(part, one) for part, one in zip(parts, devices, strict=True)]
        given.append(_on_devices(held, devices))
    results = program.execute_sharded(given).disassemble_into_single_device_arrays()
    whole: list[list[np.ndarray]] = [[] for _ in arguments]
    for index, held in enumerate(results):
        axis = partitioning.results.get(index)
        for replica, values in enumerate(whole):
            parts = [np.asarray(one) for one in held[replica * num_parts :][:num_parts]]
            values.append(parts[0] if axis is None else np.concatenate(parts, axis))
    return whole


def _parts(value: np.ndarray, axis: int | None, num_parts: int) -> list[np.ndarray]:
    return [value] * num_parts if axis is None else np.split(value, num_parts, axis)


def _on_devices(parts: list[Any], devices: list[Any]) -> Any:
    """One array of JAX of which every device has a part of its own; its shape says
    nothing."""
    import jax

    axes = ("devices",) if parts[0].ndim else ()
    sharding = jax.sharding.NamedSharding(
        jax.sharding.Mesh(np.array(devices), ("devices",)), jax.sharding.PartitionSpec(*axes)
    )
    shape = [len(parts) * size for size in parts[0].shape[:1]]
    return jax.make_array_from_single_device_arrays((*shape, *parts[0].shape[1:]), sharding, parts)
