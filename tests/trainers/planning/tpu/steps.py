"""Steps of experiments on numbers of their own, by TensorFlow and as lowered programs."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tests.trainers.planning.tpu.virtual_devices import run_on_cpu
from trainers.data.parts.base import batch_specs
from trainers.loop.assembly import Assembly
from trainers.planning.tpu.lowering.program import (
    hollow_assembly,
    lower,
    partitioning_of,
)


def batch(config, stream: str, num_examples: int) -> dict[str, np.ndarray]:
    """A batch of numbers that mean nothing, with nothing masked."""
    rng = np.random.default_rng(1)
    one = dataclasses.replace(config.streams[stream].input, batch_size=num_examples)
    made = {}
    for name, spec in batch_specs(one).items():
        dtype = spec.dtype.as_numpy_dtype
        values = rng.integers(1, 8, spec.shape) if spec.dtype.is_integer else rng.random(spec.shape)
        made[name] = np.ones(spec.shape, dtype) if "mask" in name else values.astype(dtype)
    return made


def assembly_of(config, replicas=1, partitions=1) -> Assembly:
    """Without weights, and named as the first one of a process."""
    keras.backend.clear_session()
    return hollow_assembly(config, replicas, partitions)


def fill(assembly: Assembly) -> dict[str, np.ndarray]:
    """Gives every variable numbers, as a run in its middle has them; the same by name."""
    values = {}
    for index, (name, variable) in enumerate(assembly.named_variables()):
        rng = np.random.default_rng(index)
        if variable.dtype.is_floating:
            draws = 0.1 * rng.standard_normal(variable.shape).astype(np.float32)
            is_weight = ": " not in name
            values[name] = draws if is_weight else np.abs(draws)
            if name.endswith(("gamma", "scale", "variance")):
                values[name] += 1.0
        else:
            values[name] = np.full(variable.shape, 3, variable.dtype.as_numpy_dtype)
        variable.assign(values[name])
    return values


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a step gives: outputs by name, terms as means, and variables after it."""

    outputs: dict[str, np.ndarray]
    variables: dict[str, np.ndarray]


def by_tensorflow(config, stream: str, num_examples: int) -> Outcome:
    """The step that TensorFlow runs itself."""
    assembly = assembly_of(config)
    fill(assembly)
    tensors = {k: tf.constant(v) for k, v in batch(config, stream, num_examples).items()}
    outputs = assembly.steps[(stream,)](tensors)
    return Outcome(
        _means({name: value.numpy() for name, value in outputs.items()}),
        {name: variable.numpy() for name, variable in assembly.named_variables()},
    )


def by_program(config, stream: str, num_examples: int, replicas=1, partitions=1) -> list[Outcome]:
    """The lowered step on virtual CPU devices, for each replica.

    Args:
        config: of the experiment.
        stream: one that is trained.
        num_examples: on all replicas together.
        replicas, partitions: of the program.
    """
    assembly = assembly_of(config, replicas, partitions)
    values = fill(assembly)
    own = num_examples // replicas
    program = lower(assembly, (stream,), {stream: own})
    rows = batch(config, stream, num_examples)
    arguments = [
        [
            rows[name][index * own :][:own] if name in rows else values[name]
            for name in program.arguments
        ]
        for index in range(replicas)
    ]
    results = run_on_cpu(program.hlo, arguments, partitioning_of(program))
    names = sorted(program.graph.structured_outputs)
    updated = [program.arguments[index] for _, index in sorted(program.updates.items())]
    return [
        Outcome(
            _means(dict(zip(names, one[: len(names)], strict=True))),
            values | dict(zip(updated, one[len(names) :], strict=True)),
        )
        for one in results
    ]


def _means(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: value[0] / max(value[1], 1e-9) if name.startswith("term/") else value
        for name, value in outputs.items()
    }


def check_equal(left: Outcome, right: Outcome, rtol=1e-5, atol=1e-5) -> None:
    """Asserts that outputs and variables agree."""
    for ours, theirs in ((left.outputs, right.outputs), (left.variables, right.variables)):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_allclose(value, theirs[name], rtol, atol, err_msg=name)
