"""What a run will spend on each stream, before its first step."""

import dataclasses
from collections.abc import Mapping, Sequence

from trainers.aligned_text import aligned
from trainers.loop.alternation.orders import StreamOrder
from trainers.loop.assembly import Assembly, step_costs
from trainers.loop.steps.costs import GraphCosts

_TITLES = ("stream", "share", "steps", "batch", "tokens/step", "GFLOP/step", "FLOPs")


@dataclasses.dataclass(frozen=True)
class StreamPlan:
    """One stream's part in a run.

    Attributes:
        name: of the stream.
        share: of the steps that take a batch of it.
        steps: how many those are; of an order that follows losses, at its first shares.
        examples: of one step, over all replicas.
        tokens: of one step.
        flops: of one step, forward and backward.
        costs: of one replica.
    """

    name: str
    share: float
    steps: int
    examples: int
    tokens: int
    flops: float
    costs: GraphCosts


def plan_streams(assembly: Assembly, order: StreamOrder) -> dict[str, StreamPlan]:
    """Plans by stream, as the config lists them; traces every stream's forward and backward
    pass."""
    train_steps = assembly.config.trainer.train_steps
    counts = order.counts(train_steps) if not order.refresh_steps else {}
    plans = {}
    shares = dict(zip(order.names, order.shares.tolist(), strict=True))
    for name in (name for name in assembly.config.streams if name in shares):
        share = shares[name]
        examples = assembly.config.streams[name].input.batch_size
        costs = step_costs(assembly, name)
        steps = counts.get(name, round(share * train_steps))
        tokens = examples * assembly.task.tokens_per_example(name)
        flops = costs.flops * assembly.num_replicas
        plans[name] = StreamPlan(name, share, steps, examples, tokens, flops, costs)
    return plans


def size_of_step(plans: Mapping[str, StreamPlan], streams: Sequence[str]) -> dict[str, float]:
    """Examples, tokens and flops of a step on a batch of each of `streams`."""
    return {
        field: sum(getattr(plans[name], field) for name in streams)
        for field in ("examples", "tokens", "flops")
    }


def table(plans: Mapping[str, StreamPlan]) -> str:
    """The plans as aligned text, one stream a line."""
    total = sum(plan.steps * plan.flops for plan in plans.values())
    rows: list[tuple[str, ...]] = [_TITLES]
    for plan in plans.values():
        spent = plan.steps * plan.flops / total if total else 0.0
        counts = [f"{count:,}" for count in (plan.steps, plan.examples, plan.tokens)]
        gflop = f"{plan.flops / 1e9:,.3f}"
        rows.append((plan.name, f"{plan.share:.2%}", *counts, gflop, f"{spent:.2%}"))
    return "\n".join(aligned(rows))
