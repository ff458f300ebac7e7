"""A step with harmonized gradients against the plain step, at the size of the digits experiment.

Both the modality-specific and the modality-agnostic model. The cheap mode is the default one:
conflict by the last Dense in closed form, realignment of the video's pooled rows. The exact one
compares and projects the gradients of all shared parameters, of the batch and of every sample.
"""

from typing import Any

from benchmarks.results import compare
from benchmarks.vatt_step import VattStep

AIM = 1.35
ROUNDS = 7
STEPS = 4
AGNOSTIC = (
    "task.model.variant=agnostic",
    "task.model.shared.size=digits",
    "task.model.text.num_layers=null",
)
BOTH = (
    "task.harmonization.method=both",
    "task.harmonization.ramp_begin=0",
    "task.harmonization.ramp_end=0",
)
EXACT = ("task.harmonization.measure=exact", "task.harmonization.update=parameter")
SMALLEST = {"ROUNDS": 1, "STEPS": 1}


def run() -> list[dict[str, Any]]:
    """One result per variant of the cheap mode, and one of each exact mode."""
    results = []
    for variant, options in (("agnostic", AGNOSTIC), ("specific", ())):
        plain = VattStep(*options)
        cheap = VattStep(*options, *BOTH)
        results.append(_compare(f"harmonized step, {variant}", cheap, plain, aim=AIM))
    plain = VattStep(*AGNOSTIC)
    by_batch = VattStep(*AGNOSTIC, *BOTH, *EXACT, "task.harmonization.granularity=batch")
    results.append(_compare("harmonized step, agnostic, exact by batch", by_batch, plain))
    by_sample = VattStep(*AGNOSTIC, *BOTH, *EXACT)
    name = "harmonized step, agnostic, exact by sample"
    results.append(_compare(name, by_sample, plain, rounds=1, steps=1))
    return results


def _compare(
    name: str,
    ours: VattStep,
    plain: VattStep,
    *,
    aim: float | None = None,
    rounds: int | None = None,
    steps: int | None = None,
) -> dict[str, Any]:
    ours.steps(1)
    plain.steps(2)
    steps = steps or STEPS
    pairs = [(ours.steps(steps), plain.steps(steps)) for _ in range(rounds or ROUNDS)]
    return compare(name, pairs, "seconds per step, against the plain step", most=aim)
