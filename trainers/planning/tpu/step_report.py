"""What the TPU compiler says of one step, as numbers that can be kept."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.planning.weights import deepened


@dataclasses.dataclass(frozen=True)
class LargeBuffer:
    """One of the largest buffers where the step needs most memory.

    Attributes:
        kind: type and shape.
        padded_bytes, logical_bytes: with and without the padding of its layout.
        operation: that makes it, by its name in the graph.
        source: file and line that the operation comes from; empty for what has none.
    """

    kind: str
    padded_bytes: int
    logical_bytes: int
    operation: str
    source: str


@dataclasses.dataclass(frozen=True)
class StepReport:
    """One step on one device of a slice.

    Attributes:
        streams: whose step.
        examples: of each stream on one replica.
        fits: whether a device holds it; where not, only `needed_bytes` and `available_bytes` are
            known of what follows.
        needed_bytes, available_bytes: memory of one device, as the compiler counts both.
        argument_bytes, result_bytes, aliased_bytes, temporary_bytes, code_bytes: parts of it.
        flops: that the compiler counts.
        traffic_bytes: between memory and cores.
        padding_bytes: of the temporaries at their peak, what tiles waste.
        collectives: bytes by kind.
        custom_calls: how many by target.
        buffers: the largest ones.
        compile_seconds: that it took.
    """

    streams: tuple[str, ...]
    examples: int
    fits: bool
    needed_bytes: int
    available_bytes: int
    argument_bytes: int = 0
    result_bytes: int = 0
    aliased_bytes: int = 0
    temporary_bytes: int = 0
    code_bytes: int = 0
    flops: float = 0.0
    traffic_bytes: float = 0.0
    padding_bytes: int = 0
    collectives: Mapping[str, int] = dataclasses.field(default_factory=dict)
    custom_calls: Mapping[str, int] = dataclasses.field(default_factory=dict)
    buffers: Sequence[LargeBuffer] = ()
    compile_seconds: float = 0.0


def to_json(report: StepReport) -> str:
    """One line of text."""
    return json.dumps(dataclasses.asdict(report))


def from_json(text: str) -> StepReport:
    """The report that `to_json` wrote."""
    fields: dict[str, Any] = json.loads(text)
    fields["streams"] = tuple(fields["streams"])
    fields["buffers"] = [LargeBuffer(**each) for each in fields["buffers"]]
    return StepReport(**fields)


_ADDED = ("argument_bytes", "result_bytes", "aliased_bytes", "temporary_bytes", "code_bytes")
_ADDED += ("needed_bytes", "padding_bytes", "flops", "traffic_bytes")


def grown(base: StepReport, deeper: Sequence[tuple[int, StepReport]]) -> StepReport:
    """What follows for a deep model from shallow ones.

    Args:
        base: of the shallowest.
        deeper: of one block more in some of its stacks, and how many times that block is to be
            added.
    """

    kinds = sorted(set(base.collectives).union(*(one.collectives for _, one in deeper)))

    def figures(one: StepReport) -> list[float]:
        fields = [getattr(one, name) for name in _ADDED]
        return fields + [one.collectives.get(kind, 0) for kind in kinds]

    total = deepened(figures(base), [(times, figures(one)) for times, one in deeper])
    values = dict(zip(_ADDED, total, strict=False))
    collectives = dict(zip(kinds, map(int, total[len(_ADDED) :]), strict=True))
    reports = [base, *(one for _, one in deeper)]
    if not all(one.fits for one in reports):
        # Of what does not fit only the memory is known.
        needed = int(values["needed_bytes"])
        return StepReport(base.streams, base.examples, False, needed, base.available_bytes)
    return dataclasses.replace(
        reports[-1],
        fits=values["needed_bytes"] <= base.available_bytes,
        collectives=collectives,
        compile_seconds=sum(one.compile_seconds for one in reports),
        **values,
    )
