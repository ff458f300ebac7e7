"""The streams of a run, opened at its step."""

import dataclasses
from collections.abc import Mapping, Sequence

from mm_models.errors import UserError
from trainers.loop.alternation import stream_plan
from trainers.loop.alternation.orders import Block, StreamOrder
from trainers.loop.alternation.samplers import build_order
from trainers.loop.assembly import Assembly
from trainers.loop.inputs import StreamReader
from trainers.loop.state import RunState
from trainers.loop.steps.dispatch import Dispatcher, dispatched_blocks


@dataclasses.dataclass(frozen=True)
class Streams:
    """What the inner loop takes its steps from.

    Attributes:
        order: which streams a step takes.
        reader: their batches.
        dispatcher: runs their steps.
        blocks: every call that the dispatcher may be asked for.
        plans: what each stream will cost.
        sizes: examples, tokens and flops of a step over all replicas, by its streams.
    """

    order: StreamOrder
    reader: StreamReader
    dispatcher: Dispatcher
    blocks: Sequence[Block]
    plans: Mapping[str, stream_plan.StreamPlan]
    sizes: Mapping[tuple[str, ...], Mapping[str, float]]


def open_streams(assembly: Assembly, state: RunState, step: int) -> Streams:
    """Opens every stream where `state` and `step` say that it was.

    Raises:
        UserError: the checkpoint has read other batches, or `multi_step` has too many kinds of
            calls.
    """
    config = assembly.config
    order = build_order(config)
    order.restore(state.order)
    size = config.trainer.alternation.multi_step
    blocks = dispatched_blocks(order, size, step, config.trainer.train_steps)
    positions = order.counts(step)
    if state.positions not in ({}, positions):
        raise UserError(
            f"the checkpoint at step {step} has read {state.positions} batches, but the weights or "
            f"intervals of the streams say {positions}; put them back"
        )
    plans = stream_plan.plan_streams(assembly, order)
    return Streams(
        order=order,
        reader=StreamReader(
            config.streams,
            assembly.inputs,
            assembly.strategy,
            seed=config.trainer.seed,
            positions=positions,
        ),
        dispatcher=Dispatcher(assembly.steps),
        blocks=[*((streams,) for streams in assembly.steps), *blocks],
        plans=plans,
        sizes={streams: stream_plan.size_of_step(plans, streams) for streams in assembly.steps},
    )
