"""Compiles every step before the first one, and leaves no trace in the weights."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainers import distribution
from trainers.loop.alternation.streams import Streams
from trainers.loop.assembly import Assembly, replica_batch_spec


def warm_up(
    streams: Streams,
    assembly: Assembly,
    *,
    say: Callable[[str], None],
    interrupting: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    """Runs each block once on zeros of its streams' declared shapes, then puts every variable back.

    Only a run compiles all that a step needs, on every platform. The run's variables are kept in
    host memory meanwhile, bit by bit; no example is read, so that data positions stay.

    Args:
        streams: what is to be compiled.
        assembly: whose variables are put back.
        say: shows a line.
        interrupting: gives a context for what may be left before it is done.
    """
    kept = [(variable, variable.read_value().numpy()) for variable in _variables(assembly)]
    specs = {name: replica_batch_spec(assembly, name) for name in streams.order.names}
    try:
        for number, block in enumerate(streams.blocks, 1):
            start = time.perf_counter()
            with interrupting():
                batches = tuple(
                    tuple(_zeros(assembly, specs[name]) for name in names) for names in block
                )
                for outputs in streams.dispatcher.run(block, batches):
                    # Waits for the device.
                    tf.nest.map_structure(lambda value: value.numpy(), outputs)
            shown = ", ".join(" + ".join(names) for names in block)
            seconds = time.perf_counter() - start
            say(f"compiled {number}/{len(streams.blocks)}: {shown} in {seconds:.1f} s")
    finally:
        for variable, value in kept:
            variable.assign(value)


def _variables(assembly: Assembly) -> Iterable[tf.Variable]:
    """Everything a step may change: each replica's copy of every variable."""
    for _, variable in assembly.named_variables():
        yield from assembly.strategy.experimental_local_results(variable)


def _zeros(assembly: Assembly, spec: Mapping[str, tf.TensorSpec]) -> Any:
    """A batch as a stream's reader hands it out, of zeros; `spec` is one replica's."""

    def build(_: tf.distribute.InputContext | None) -> tf.data.Dataset:
        values = {
            name: np.zeros(one.shape.as_list(), one.dtype.as_numpy_dtype)
            for name, one in spec.items()
        }
        return tf.data.Dataset.from_tensors(values).repeat()

    if distribution.is_single(assembly.strategy):
        return next(iter(build(None)))
    return next(iter(assembly.strategy.distribute_datasets_from_function(build)))
