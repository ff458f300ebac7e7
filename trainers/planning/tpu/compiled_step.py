"""One step through the TPU compiler."""

import time
from collections.abc import Callable, Mapping

from trainers.loop.assembly import Assembly
from trainers.planning.tpu import internals
from trainers.planning.tpu.kept_reports import KeptReports
from trainers.planning.tpu.lowering.faults import contents
from trainers.planning.tpu.lowering.origins import Origins
from trainers.planning.tpu.lowering.program import StepProgram, lower, partitioning_of
from trainers.planning.tpu.lowering.refusals import OutOfMemory, refused_program
from trainers.planning.tpu.optimized.buffers import Peak, peak_of
from trainers.planning.tpu.optimized.hlo_text import parse_program
from trainers.planning.tpu.optimized.traffic import collective_bytes, memory_traffic
from trainers.planning.tpu.placement import Placement
from trainers.planning.tpu.step_report import LargeBuffer, StepReport

_SHOWN_BUFFERS = 12


def compile_step(
    assembly: Assembly,
    streams: tuple[str, ...],
    examples: Mapping[str, int],
    placement: Placement,
    *,
    results: KeptReports,
    say: Callable[[str], None],
) -> StepReport:
    """What the compiler says of one step, from `results` where it has said it before.

    Args:
        assembly: from `hollow_assembly`, for the placement's replicas.
        streams: whose step.
        examples: of each stream on one replica.
        placement: what to compile for.
        results: of programs compiled before.
        say: shows a line about what goes on.

    Raises:
        UserError: an operation does not compile; says which, of what layer and file.
    """
    title = " + ".join(streams)
    start = time.monotonic()
    program = lower(assembly, streams, examples)
    partitioning = partitioning_of(program)
    fingerprint = internals.fingerprint(program.hlo, partitioning)
    topology = placement.target.topology
    found = results.find(fingerprint, topology)
    if found is not None:
        say(f"{title}: compiled before")
        return found
    say(f"{title}: lowered in {time.monotonic() - start:.0f} s, compiling")
    report = _compile(program, max(examples[name] for name in streams), placement, partitioning)
    say(f"{title}: compiled in {report.compile_seconds:.0f} s")
    results.keep(fingerprint, topology, report)
    return report


def _compile(
    program: StepProgram,
    examples: int,
    placement: Placement,
    partitioning: internals.Partitioning,
) -> StepReport:
    start = time.monotonic()
    try:
        compiled = internals.compile_for(placement.target.topology, program.hlo, partitioning)
    except internals.CompilerRefused as error:
        refused = refused_program(error, program.hlo, program.graph)
        if not isinstance(refused, OutOfMemory):
            raise refused from error
        return StepReport(
            streams=program.streams,
            examples=examples,
            fits=False,
            needed_bytes=refused.needed_bytes + program.argument_bytes,
            available_bytes=refused.available_bytes,
            compile_seconds=time.monotonic() - start,
        )
    seconds = time.monotonic() - start
    optimized = parse_program(compiled.text)
    peak = peak_of(optimized)
    return StepReport(
        streams=program.streams,
        examples=examples,
        fits=compiled.total_bytes <= placement.target.chip.memory_bytes,
        needed_bytes=compiled.total_bytes,
        available_bytes=placement.target.chip.memory_bytes,
        argument_bytes=compiled.argument_bytes,
        result_bytes=compiled.result_bytes,
        aliased_bytes=compiled.aliased_bytes,
        temporary_bytes=compiled.temporary_bytes,
        code_bytes=compiled.code_bytes,
        flops=compiled.flops,
        traffic_bytes=memory_traffic(optimized),
        padding_bytes=peak.padding_bytes,
        collectives=collective_bytes(optimized),
        custom_calls=contents(program.hlo).custom_calls,
        buffers=_largest(peak, Origins(program.graph)),
        compile_seconds=seconds,
    )


def _largest(peak: Peak, origins: Origins) -> list[LargeBuffer]:
    found = []
    for one in peak.buffers[:_SHOWN_BUFFERS]:
        source = origins.find(one.operation).source if one.operation else ""
        array = one.array
        operation = one.operation or "the compiler's own"
        found.append(
            LargeBuffer(array.kind, array.padded_bytes, array.logical_bytes, operation, source)
        )
    return found
