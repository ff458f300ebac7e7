"""One or several consecutive steps in one call from the host."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from mm_models.errors import UserError
from trainers.loop.alternation.orders import Block, StreamOrder
from trainers.loop.steps.compiled_step import CompiledStep

# Distinct runs of streams, each a function of its own.
MOST_BLOCKS = 16


class Dispatcher:
    """Runs blocks of steps; those of several steps as one function that calls the steps' own.

    The steps inside are the very functions that run alone, traced once, so that a block computes
    what its steps would one by one; the host is not asked in between. XLA compiles each of them
    once to run alone and once for all blocks.
    """

    def __init__(self, steps: Mapping[tuple[str, ...], CompiledStep]):
        """Takes steps by their streams."""
        self._steps = steps
        self._functions: dict[Block, tf.types.experimental.PolymorphicFunction] = {}

    def is_new(self, block: Block) -> bool:
        """Whether `run` would compile something."""
        if len(block) == 1:
            return not self._steps[block[0]].num_traces
        return block not in self._functions

    def run(self, block: Block, batches: Sequence[Sequence[Any]]) -> list[Mapping[str, tf.Tensor]]:
        """Runs the steps of `block`, each on its streams' batches.

        Returns:
            Each step's outputs, as `CompiledStep` names them.
        """
        steps = [self._steps[streams] for streams in block]
        if len(steps) == 1:
            return [steps[0](*batches[0])]
        if block not in self._functions:
            self._functions[block] = tf.function(
                lambda batches: [
                    step.function(*each) for step, each in zip(steps, batches, strict=True)
                ]
            )
        outputs = self._functions[block](batches)
        for step in steps:
            step.check_traces()
        return outputs


def dispatched_blocks(order: StreamOrder, size: int, start: int, stop: int) -> list[Block]:
    """The distinct blocks of `size` steps that steps `start` to `stop` come in.

    Raises:
        UserError: more than MOST_BLOCKS.
    """
    if size == 1:
        return []
    found = list(itertools.islice(order.blocks(start, stop, size), MOST_BLOCKS + 1))
    if len(found) > MOST_BLOCKS:
        raise UserError(
            f"trainer.alternation.multi_step is {size}, but this order of {len(order.names)} "
            f"streams has more than {MOST_BLOCKS} different runs of {size} steps, each of which "
            "would be compiled; use the sampler interval with small intervals, equal weights, a "
            "smaller multi_step or 1"
        )
    return found
