"""What the TPU compiler says of an experiment, as text for people."""

from collections.abc import Mapping, Sequence

from trainers.aligned_text import aligned
from trainers.planning.estimate import StepEstimate
from trainers.planning.tpu.chips import GIB
from trainers.planning.tpu.compiled_plan import CompiledPlan, LargestBatch
from trainers.planning.tpu.largest_batch import MOST
from trainers.planning.tpu.optimized.roofline import roofline
from trainers.planning.tpu.placement import Placement
from trainers.planning.tpu.step_report import StepReport

_MIB = 2**20


def plan_text(plan: CompiledPlan) -> str:
    """A table with a column for each step, and the largest buffers of each."""
    columns = [_column(plan, step) for step in plan.steps]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [[name, *(column.get(name, "-") for column in columns)] for name in names]
    title = _title(plan.placement)
    if plan.blocks:
        title += f"; from stacks of {plan.blocks} and {plan.blocks + 1} blocks"
    lines = [title, "", *aligned(rows)]
    for step in plan.steps:
        lines += _buffers(step)
    return "\n".join(lines)


def largest_text(placement: Placement, found: Sequence[LargestBatch]) -> str:
    """A row for each step and variant."""
    rows = [("largest batch of a replica", "examples", "GiB", "compiled")]
    for one in found:
        name = f"{' + '.join(one.streams)}, {one.variant}"
        tried = ", ".join(str(size) for size in sorted(one.tried))
        if one.report is None:
            rows.append((name, "none", "-", tried))
        else:
            more = " or more" if one.report.examples >= MOST else ""
            examples = f"{one.report.examples:,}{more}"
            rows.append((name, examples, _gib(one.report.needed_bytes), tried))
    return "\n".join([_title(placement), "", *aligned(rows)])


def row_of(plan: CompiledPlan, step: StepReport) -> list[str]:
    """A step in the cells of a table (trainers/planning/tpu/every.py)."""
    column = _column(plan, step)
    placement = plan.placement
    slice_name = placement.target.topology
    if placement.model_parallel > 1:
        slice_name += f", model over {placement.model_parallel}"
    memory = column["memory, GiB"] + ("" if step.fits else " (does not fit)")
    cells = [column["step of"], slice_name, column["examples of a replica"], memory]
    others = ("  compiled / by hand", "GFLOP of a device", "step takes at least, ms")
    others += ("  bound by", "  utilization (MFU) at most")
    return cells + [column.get(name, "-") for name in others]


def _title(placement: Placement) -> str:
    target = placement.target
    devices = f"{target.num_devices:,} devices of {_gib(target.chip.memory_bytes)} GiB"
    replicas = f"{placement.num_replicas:,} replicas"
    if placement.model_parallel > 1:
        replicas += f" over {placement.model_parallel} devices each"
    return f"compiled for {target.topology}: {devices}, {replicas}"


def _column(plan: CompiledPlan, step: StepReport) -> dict[str, str]:
    asked = [plan.estimates[name] for name in step.streams]
    # Streams of one step follow each other: the largest counts.
    estimate = StepEstimate(max(one.memory_bytes for one in asked), sum(one.flops for one in asked))
    column = {
        "step of": " + ".join(step.streams),
        "examples of a replica": f"{step.examples:,}",
        "memory, GiB": _gib(step.needed_bytes),
        "  fits": "yes" if step.fits else f"no, in {_gib(step.available_bytes)}",
        "  by hand, GiB": _gib(estimate.memory_bytes),
        "  compiled / by hand": f"{step.needed_bytes / estimate.memory_bytes:.2f}",
    }
    if not step.fits:
        return column
    placement = plan.placement
    model_flops = estimate.flops / placement.model_parallel
    bound = roofline(step.flops, step.traffic_bytes, model_flops, placement.target.chip)
    return column | {
        "  arguments": _gib(step.argument_bytes),
        "  results that are not arguments": _gib(step.result_bytes - step.aliased_bytes),
        "  temporary": _gib(step.temporary_bytes),
        "  program": _gib(step.code_bytes),
        "  lost to padding": _gib(step.padding_bytes),
        "GFLOP of a device": _number(step.flops / 1e9),
        "  of the model by hand": _number(model_flops / 1e9),
        "GiB to and from memory": _number(step.traffic_bytes / GIB),
        "FLOP a byte": f"{bound.intensity:,.1f}",
        "step takes at least, ms": _number(bound.seconds * 1e3),
        "  bound by": bound.bound_by,
        "  utilization (MFU) at most": f"{bound.utilization:.0%}",
        "collectives, MiB": _by_kind(step.collectives),
        "custom calls": ", ".join(f"{key} {n}" for key, n in step.custom_calls.items()) or "none",
        "compiled in, s": f"{step.compile_seconds:,.0f}",
    }


def _by_kind(collectives: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {size / _MIB:,.1f}" for kind, size in collectives.items()) or "none"


def _buffers(step: StepReport) -> list[str]:
    if not step.buffers:
        return []
    rows = [("MiB", "without padding", "what", "where")]
    rows += [
        (
            f"{one.padded_bytes / _MIB:,.1f}",
            f"{one.logical_bytes / _MIB:,.1f}",
            one.kind,
            f"{one.operation} {one.source}".strip(),
        )
        for one in step.buffers
    ]
    return ["", f"largest buffers at the peak of {' + '.join(step.streams)}", *aligned(rows)]


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 100 else f"{value:.3g}"


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / GIB:,.2f}"
