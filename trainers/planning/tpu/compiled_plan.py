"""Steps of an experiment through the TPU compiler: a report for each, and searches over batches."""

import copy
import dataclasses
from collections.abc import Callable, Sequence

from mm_models.errors import UserError
from trainers import runs
from trainers.config.checks import check_batches
from trainers.config.schema import ExperimentConfig
from trainers.loop.assembly import Assembly
from trainers.planning.estimate import CountedSteps, StepEstimate, count_steps
from trainers.planning.rematerialization import can_rematerialize, set_rematerialize
from trainers.planning.tpu.chips import GIB
from trainers.planning.tpu.compiled_step import compile_step
from trainers.planning.tpu.kept_reports import KeptReports
from trainers.planning.tpu.largest_batch import Tried, largest_batch
from trainers.planning.tpu.lowering.program import hollow_assembly
from trainers.planning.tpu.placement import Placement
from trainers.planning.tpu.step_report import StepReport, grown
from trainers.planning.weights import shallow_depths, with_depths

# Compiled figures were seen between 0.4 and 3 times the hand-made ones.
_HOPELESS = 3.0
# How many times the blocks of the shallow models together a model must have to follow from them.
_WORTH_IT = 3
# Temporaries of so few bytes stay in the memory on the chip (128 MiB of v5e, from memory), and a
# model whose blocks do not fit there together does not follow from one whose blocks do.
_ON_CHIP_BYTES = 128 * 2**20


@dataclasses.dataclass(frozen=True)
class HowToCompile:
    """What a plan is asked for beside the experiment.

    Attributes:
        results: what is compiled already.
        say: shows a line about what goes on.
        batch_size: examples of each stream on one replica; 0: what the experiment's come to.
        blocks: compile stacks of so many blocks, and of one more, and add up what follows for the
            depth of the experiment; 0: compile it as it is.
    """

    results: KeptReports
    say: Callable[[str], None]
    batch_size: int = 0
    blocks: int = 0


@dataclasses.dataclass(frozen=True)
class CompiledPlan:
    """What the compiler says of an experiment.

    Attributes:
        placement: what it was compiled for.
        steps: a report for each step.
        estimates: by stream, at the same batches.
        blocks: of each stack that were compiled, from which deeper ones follow; 0: all.
    """

    placement: Placement
    steps: Sequence[StepReport]
    estimates: dict[str, StepEstimate]
    blocks: int = 0

    @property
    def fits(self) -> bool:
        """Whether every step does."""
        return all(step.fits for step in self.steps)


@dataclasses.dataclass(frozen=True)
class LargestBatch:
    """The largest batch of one step under one variant.

    Attributes:
        streams: whose step.
        variant: in words.
        report: of that batch, or None where not even one example fits.
        tried: batches that were compiled.
    """

    streams: tuple[str, ...]
    variant: str
    report: StepReport | None
    tried: Sequence[int]


def compiled_plan(
    config: ExperimentConfig,
    placement: Placement,
    how: HowToCompile,
    counted: CountedSteps | None = None,
) -> CompiledPlan:
    """Compiles every step of an experiment; `counted` is what its steps cost, where that is known.

    Raises:
        UserError: devices or batches do not divide, or a step does not compile.
    """
    examples = _examples(config, placement, how.batch_size)
    # Before the minutes that a compilation takes, for whatever it has to complain about.
    asked = (counted or count_steps(config)).at(examples, placement.model_parallel)
    if how.blocks and (steps := _few_blocks(config, placement, examples, how)):
        return CompiledPlan(placement, steps, asked, how.blocks)
    steps = _steps(config, placement, examples, how)
    return CompiledPlan(placement, steps, asked)


def _steps(
    config: ExperimentConfig, placement: Placement, examples: dict[str, int], how: HowToCompile
) -> list[StepReport]:
    assembly = hollow_assembly(config, placement.num_replicas, placement.model_parallel)
    return [
        compile_step(assembly, streams, examples, placement, results=how.results, say=how.say)
        for streams in assembly.steps
    ]


def _few_blocks(
    config: ExperimentConfig, placement: Placement, examples: dict[str, int], how: HowToCompile
) -> list[StepReport] | None:
    """Reports that follow from shallow models; None where those would not save much, or are too
    small."""
    task = runs.build_task(config)
    variants = shallow_depths(task, how.blocks)
    compiled = sum(sum(depths.values()) for depths in variants.values())
    if not compiled or sum(task.stack_depths().values()) < _WORTH_IT * compiled:
        how.say("compiled as it is: shallower models would not take much less")
        return None
    reports = {}
    for depth, depths in variants.items():
        how.say(f"blocks: {', '.join(f'{field} {count}' for field, count in depths.items())}")
        reports[depth] = _steps(with_depths(config, depths), placement, examples, how)
    base = reports.pop(how.blocks)
    if any(step.fits and step.temporary_bytes < _ON_CHIP_BYTES for step in base):
        how.say(
            "compiled as it is: what few blocks keep stays on the chip, and says nothing of many"
        )
        return None
    return [
        grown(step, [(depth - how.blocks, others[index]) for depth, others in reports.items()])
        for index, step in enumerate(base)
    ]


def first_that_fits(
    config: ExperimentConfig, placements: Sequence[Placement], how: HowToCompile
) -> CompiledPlan:
    """The plan for the first slice that holds every step, or for the last one.

    Slices are passed over among whose replicas the batches do not divide, and where the hand-made
    estimate is far above their memory, since a compilation takes minutes. Raises as
    `compiled_plan`.
    """
    counted = count_steps(config)
    placements = _that_divide(config, placements, how)
    for placement in placements[:-1]:
        topology, chip = placement.target.topology, placement.target.chip
        examples = _examples(config, placement, how.batch_size)
        asked = counted.at(examples, placement.model_parallel).values()
        largest = max(one.memory_bytes for one in asked)
        if largest > _HOPELESS * chip.memory_bytes:
            how.say(f"{topology}: passed over, about {largest / GIB:,.0f} GiB by hand")
            continue
        plan = compiled_plan(config, placement, how, counted)
        if plan.fits:
            return plan
        how.say(f"{topology}: does not hold it")
    return compiled_plan(config, placements[-1], how, counted)


def _that_divide(
    config: ExperimentConfig, placements: Sequence[Placement], how: HowToCompile
) -> list[Placement]:
    """Those among whose replicas the batches divide; the last one where that is none, whose error
    says so."""
    found = []
    for placement in placements:
        try:
            _examples(config, placement, how.batch_size)
        except UserError as error:
            how.say(f"{placement.target.topology}: passed over, {error}")
        else:
            found.append(placement)
    return found or [placements[-1]]


def _examples(config: ExperimentConfig, placement: Placement, batch_size: int) -> dict[str, int]:
    """Examples of each trained stream on one replica. Raises UserError where batches do not
    divide."""
    num_replicas = placement.num_replicas
    if batch_size:
        streams = {
            name: dataclasses.replace(
                stream,
                input=dataclasses.replace(stream.input, batch_size=batch_size * num_replicas),
            )
            for name, stream in config.streams.items()
        }
        config = dataclasses.replace(config, streams=streams)
    check_batches(config, num_replicas)
    return {
        name: stream.input.batch_size // num_replicas
        for name, stream in config.streams.items()
        if stream.weight > 0
    }


def largest_batches(
    config: ExperimentConfig, placement: Placement, how: HowToCompile
) -> list[LargestBatch]:
    """The largest batch of each step on one replica, in either precision, with blocks kept and
    computed again. Raises as `compiled_plan`.
    """
    found = []
    again = (False, True) if can_rematerialize(config.task.model) else (None,)
    for mixed in (False, True):
        for rematerialize in again:
            variant, words = _variant(config, mixed, rematerialize)
            assembly = hollow_assembly(variant, placement.num_replicas, placement.model_parallel)
            found += [
                _largest(assembly, streams, words, placement, how) for streams in assembly.steps
            ]
    return found


def _variant(
    config: ExperimentConfig, mixed: bool, rematerialize: bool | None
) -> tuple[ExperimentConfig, str]:
    """The experiment in another precision and with blocks kept or not, and words for it."""
    task = copy.deepcopy(config.task)
    words = "bfloat16" if mixed else "float32"
    if rematerialize is not None:
        set_rematerialize(task.model, rematerialize)
        words += ", blocks computed again" if rematerialize else ", blocks kept"
    runtime = dataclasses.replace(config.runtime, mixed_precision=mixed)
    return dataclasses.replace(config, task=task, runtime=runtime), words


def _largest(
    assembly: Assembly,
    streams: tuple[str, ...],
    variant: str,
    placement: Placement,
    how: HowToCompile,
) -> LargestBatch:
    reports: dict[int, StepReport] = {}

    def attempt(examples: int) -> Tried:
        how.say(f"{variant}: trying {examples:,} examples of {' + '.join(streams)}")
        report = reports[examples] = compile_step(
            assembly,
            streams,
            dict.fromkeys(streams, examples),
            placement,
            results=how.results,
            say=how.say,
        )
        return Tried(examples, report.needed_bytes, report.fits)

    sizes = [assembly.config.streams[name].input.batch_size for name in streams]
    start = max(min(sizes) // placement.num_replicas, 1)
    best, tried = largest_batch(attempt, start, placement.target.chip.memory_bytes)
    report = reports[best.examples] if best else None
    return LargestBatch(streams, variant, report, [one.examples for one in tried])
