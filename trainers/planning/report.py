"""The plan of an experiment as text."""

import dataclasses
from collections.abc import Sequence

from mm_models.errors import UserError
from trainers import runs
from trainers.aligned_text import aligned
from trainers.config.checks import accumulation_steps
from trainers.config.schema import ExperimentConfig
from trainers.loop.steps.costs import GraphCosts
from trainers.planning.example_costs import example_costs, largest_stream
from trainers.planning.memory import StateBytes, state_bytes
from trainers.planning.sharding import check_heads, rule_of
from trainers.planning.weights import State, all_weights, state_of
from trainers.tasks.base import TaskConfig

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Devices:
    """A machine.

    Attributes:
        number: of devices.
        model_parallel: devices that share one copy of the model.
        memory_gib: sizes to compare with.
    """

    number: int
    model_parallel: int
    memory_gib: Sequence[float]


def report(config: ExperimentConfig, devices: Devices, *, activations: bool = True) -> str:
    """Parameters, memory per device and cost of a step; allocates no weight.

    Args:
        config: of the experiment.
        devices: to plan for.
        activations: trace the step to count operations and activations.

    Raises:
        UserError: devices, batches, heads or weights do not divide.
    """
    task = runs.build_task(config)
    # Shallow models are built without streams, whose data may have named the classes.
    config = dataclasses.replace(config, task=task.config)
    _check(config, task.config, devices)
    state = state_of(config, all_weights(config, task))
    stream = largest_stream(config, task)
    size = f"{devices.number:,} devices, {config.trainer.train_steps:,} steps"
    lines = [f"plan of {config.name}: {size}", *_components(state), ""]
    traced = {
        again: example_costs(config, task, state, stream, rematerialize=again)
        for again in ((False, True) if activations else ())
    }
    if activations:
        lines += [*_costs(config, stream, traced), ""]
    states = {way: state_bytes(state, way) for way in sorted({1, devices.model_parallel})}
    lines += _memory(config, devices, stream, states, traced)
    return "\n".join([*lines, "", *_split(state, devices.model_parallel)])


def _check(config: ExperimentConfig, resolved: TaskConfig, devices: Devices) -> None:
    if devices.number % devices.model_parallel:
        raise UserError(
            f"--model_parallel={devices.model_parallel} does not divide --num_devices="
            f"{devices.number}; use a divisor"
        )
    if devices.model_parallel > 1:
        check_heads(resolved.model, devices.model_parallel)
    for name, stream in config.streams.items():
        copies = devices.number // devices.model_parallel
        if stream.input.batch_size % (copies * accumulation_steps(config, name)):
            raise UserError(
                f"streams.{name}.input.batch_size is {stream.input.batch_size}, which {copies} "
                "copies of the model, times the accumulation steps, do not divide; give another "
                "--num_devices or --model_parallel"
            )


def _components(state: State) -> list[str]:
    """Parameters of each part of the model, trained and frozen."""
    parts: dict[str, list[int]] = {}
    for weight in state.weights:
        place = 0 if weight.path in state.slots else 1
        for name in (weight.path.split("/")[0], "all"):
            parts.setdefault(name, [0, 0])[place] += weight.size
    parts["all"] = parts.pop("all")
    rows = [("component", "parameters", "trained", "frozen")]
    rows += [
        (name, f"{sum(counts):,}", f"{counts[0]:,}", f"{counts[1]:,}")
        for name, counts in parts.items()
    ]
    return aligned(rows)


def _costs(config: ExperimentConfig, stream: str, traced: dict[bool, GraphCosts]) -> list[str]:
    batch = config.streams[stream].input.batch_size
    rows = [
        (f"an example of {stream}", "blocks kept", "blocks computed again"),
        ("GFLOP, forward and backward", *(_number(one.flops / 1e9) for one in traced.values())),
        ("activations kept, MiB", *(_number(one.own_bytes / 2**20) for one in traced.values())),
        (
            f"PFLOP of a step of {batch:,}",
            *(_number(one.flops * batch / 1e15) for one in traced.values()),
        ),
    ]
    return aligned(rows)


def _memory(
    config: ExperimentConfig,
    devices: Devices,
    stream: str,
    states: dict[int, StateBytes],
    traced: dict[bool, GraphCosts],
) -> list[str]:
    """A column for each way to use the devices."""
    parts = accumulation_steps(config, stream)
    batch = config.streams[stream].input.batch_size
    columns = []
    for way, held in states.items():
        examples = batch // (devices.number // way) // parts
        title = "data parallel" if way == 1 else f"model over {way}"
        column = [title, f"{devices.number // way:,}", f"{examples:,}"]
        sizes = [held.weights, held.slots, held.gradients, held.averages]
        column += [_gib(size) for size in sizes]
        for one in traced.values():
            live = one.kept_bytes(examples, way)
            column += [_gib(live), _gib(held.total + live), _fits(held.total + live, devices)]
        if not traced:
            column += [_gib(held.total), _fits(held.total, devices)]
        columns.append(column)
    names = ["GiB on each device", "copies of the model", "examples at once", "weights"]
    names += ["optimizer slots", "gradients", "averages"]
    for again in traced:
        how = "computed again" if again else "kept"
        names += [f"activations, blocks {how}", "  all of it", "  fits"]
    names += [] if traced else ["without activations", "  fits"]
    return aligned(list(zip(names, *columns, strict=True)))


def _number(value: float) -> str:
    """With a tenth, and of what is small four digits."""
    return f"{value:,.1f}" if value >= 100 else f"{value:.4g}"


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / GIB:,.3f}"


def _fits(size_bytes: float, devices: Devices) -> str:
    fitting = [f"{size:g}" for size in devices.memory_gib if size_bytes <= size * GIB]
    return f"in {', '.join(fitting)}" if fitting else "in none"


def _split(state: State, num_parts: int) -> list[str]:
    """How many parameters each rule takes."""
    if num_parts == 1:
        return ["nothing is split"]
    counts: dict[tuple[str, int | None], int] = {}
    for weight in state.weights:
        rule = rule_of(weight.path)
        counts[rule.kind, rule.axis] = counts.get((rule.kind, rule.axis), 0) + weight.size
    rows = [("split", "axis", "parameters", f"a part of {num_parts}")]
    for (kind, axis), size in sorted(counts.items(), key=str):
        part = size if axis is None else size // num_parts
        rows.append((kind, "-" if axis is None else str(axis), f"{size:,}", f"{part:,}"))
    return aligned(rows)
