"""What a run would do, without doing it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.evaluation.base import Evaluator
from trainers.loop.alternation import stream_plan
from trainers.loop.alternation.samplers import build_order
from trainers.loop.assembly import Assembly, replica_batch_spec
from trainers.loop.steps.dispatch import dispatched_blocks

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def report(
    assembly: Assembly,
    evaluators: Mapping[str, Evaluator],
    looked_at: Mapping[str, Sequence[str]],
) -> str:
    """Text with parameters, operations, memory and data plan; traces every stream's step.

    Args:
        assembly: of the run.
        evaluators: by name.
        looked_at: lines about the first records of inputs, by the input's field.
    """
    config = assembly.config
    lines = [
        f"experiment {config.name or config.task.name}: task {config.task.name}, "
        f"{config.trainer.train_steps} steps, {assembly.num_replicas} replica(s), "
        f"strategy {config.runtime.distribution_strategy}",
        *_parameters(assembly),
        *(str(source) for source in assembly.initialized.values()),
    ]
    order, size = build_order(config), config.trainer.alternation.multi_step
    blocks = dispatched_blocks(order, size, 0, config.trainer.train_steps)
    plans = stream_plan.plan_streams(assembly, order)
    batches = {name: _batch_bytes(assembly, name) for name in plans}
    for name, one in plans.items():
        seen = looked_at.get(f"streams.{name}.input", ())
        lines += _stream(assembly, one, batches[name], seen)
    largest = max(one.costs.activation_bytes + batches[name] for name, one in plans.items())
    lines += stream_plan.table(plans).splitlines()
    lines += [f"{len(blocks)} different calls of {size} steps each"] if blocks else []
    lines.append(f"memory per replica, about: {_size(_state_bytes(assembly) + largest)}")
    lines.append(f"evaluators: {', '.join(sorted(evaluators)) or 'none'}")
    for field, seen in looked_at.items():
        lines += [f"{field}:", *seen] if not field.startswith("streams.") else []
    return "\n".join(lines)


def _parameters(assembly: Assembly) -> list[str]:
    model = assembly.model
    trainable, fixed = _count(model.trainable_variables), _count(model.non_trainable_variables)
    lines = [f"parameters: {trainable:,} trainable, {fixed:,} other"]
    for name, optimizer in assembly.optimizers.items():
        sizes = [_count(group.variables) for group in optimizer.groups]
        kind = assembly.config.trainer.optimizers[name].kind
        lines.append(
            f"optimizer {name}: {kind} over {sum(sizes):,} parameters in {len(sizes)} group(s)"
        )
    lines.append(f"weights, gradients, slots and averages: {_size(_state_bytes(assembly))}")
    return lines


def _stream(
    assembly: Assembly, one: stream_plan.StreamPlan, batch_bytes: int, seen: Sequence[str]
) -> list[str]:
    stream = assembly.config.streams[one.name]
    described = str(assembly.inputs.plan(stream.input, f"streams.{one.name}.input"))
    return [
        f"stream {one.name}: {one.share:.0%} of the steps, about {one.steps * one.examples:,} "
        "examples",
        *(f"  {line}" for line in described.splitlines()),
        *(f"  {line}" for line in seen),
        f"  {one.examples // assembly.num_replicas} of {one.examples} examples on each of "
        f"{assembly.num_replicas} replica(s)",
        f"  {one.tokens // one.examples:,} tokens per example; {one.flops / 1e9:,.3f} GFLOP per "
        "step, forward and backward",
        f"  per replica: batch {_size(batch_bytes)}, activations kept for the backward pass "
        f"{_size(one.costs.activation_bytes)}",
    ]


def _state_bytes(assembly: Assembly) -> int:
    """Weights, one gradient each, optimizer slots and averages of one replica."""
    groups = [group for each in assembly.optimizers.values() for group in each.groups]
    trained = [variable for group in groups for variable in group.variables]
    slots = [variable for group in groups for variable in group.optimizer.variables]
    averages = assembly.averages.values if assembly.averages is not None else []
    return sum(_count(part) for part in (assembly.model.variables, trained, slots, averages)) * 4


def _batch_bytes(assembly: Assembly, stream: str) -> int:
    specs = replica_batch_spec(assembly, stream).values()
    return sum(spec.shape.num_elements() * spec.dtype.size for spec in specs)


def _count(variables: Any) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _size(size_bytes: float) -> str:
    unit = 0
    while size_bytes >= 1024 and unit < len(_UNITS) - 1:
        size_bytes, unit = size_bytes / 1024, unit + 1
    return f"{size_bytes:.1f} {_UNITS[unit]}"
