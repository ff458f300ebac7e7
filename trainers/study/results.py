"""What the runs of a study measured: values, means, standard errors and differences."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from trainers.study.config import MetricConfig, StudyConfig
from trainers.study.plan import METRICS, PlannedRun


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Mean over seeds.

    Attributes:
        mean: arithmetic mean.
        standard_error: of the mean, from the sample's standard deviation; None for a single value.
        count: number of values.
    """

    mean: float
    standard_error: float | None
    count: int


@dataclasses.dataclass(frozen=True)
class Cell:
    """One metric of one combination of levels.

    Attributes:
        levels: level by factor.
        metric: name in `metrics.jsonl`.
        by_seed: value of each finished run that logged the metric.
        estimate: over them; None without any.
        difference: to the control's value, paired by seed; None for the control itself and where
            no seed is shared.
    """

    levels: Mapping[str, str]
    metric: str
    by_seed: Mapping[int, float]
    estimate: Estimate | None
    difference: Estimate | None


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything a report shows.

    Attributes:
        study: what was asked.
        cells: in the order of levels, then metrics.
        finished: finished runs.
        unfinished: the others.
        curves: (step, estimate over the seeds that logged it) in order of steps, by levels (as a
            sorted tuple of pairs) and metric.
    """

    study: StudyConfig
    cells: Sequence[Cell]
    finished: Sequence[PlannedRun]
    unfinished: Sequence[PlannedRun]
    curves: Mapping[tuple, Sequence[tuple[int, Estimate]]]

    @property
    def cells_by_key(self) -> dict[tuple, Cell]:
        """Cells by levels and metric, as `curves` are."""
        return {(key_of(cell.levels), cell.metric): cell for cell in self.cells}


def estimate(values: Iterable[float]) -> Estimate | None:
    """Mean and its standard error, sqrt(sample variance / count)."""
    values = list(values)
    if not values:
        return None
    mean = sum(values) / len(values)
    if len(values) == 1:
        return Estimate(mean, None, 1)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Estimate(mean, math.sqrt(variance / len(values)), len(values))


def difference(values: Mapping[int, float], control: Mapping[int, float]) -> Estimate | None:
    """Mean of value - control over the seeds that both have.

    Runs of one seed share initial weights and the order of examples, so their differences vary less
    than the values do.
    """
    return estimate(values[seed] - control[seed] for seed in values if seed in control)


def collect(study: StudyConfig, runs: Sequence[PlannedRun]) -> Results:
    """Reads `metrics.jsonl` of every finished run."""
    finished = [run for run in runs if run.finished]
    logged = {run.name: read_series(run.folder) for run in finished}
    groups: dict[tuple, list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault(key_of(run.levels), []).extend([run] if run.finished else [])
    values = {
        (key, metric): _by_seed(members, logged, metric, config)
        for key, members in groups.items()
        for metric, config in study.metrics.items()
    }
    cells = []
    for key, metric in values:
        levels = dict(key)
        control = key_of({**levels, study.report.rows: study.report.control})
        own = values[key, metric]
        apart = None if control == key else difference(own, values.get((control, metric), {}))
        cells.append(Cell(levels, metric, own, estimate(own.values()), apart))
    curves = {
        (key, metric): _curve([logged[run.name].get(metric, []) for run in members])
        for key, members in groups.items()
        for metric in study.metrics
    }
    return Results(study, cells, finished, [run for run in runs if not run.finished], curves)


def read_series(folder: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every scalar of a run, in the order logged; values that are no numbers are
    left out."""
    series: dict[str, list[tuple[int, float]]] = {}
    path = folder / METRICS
    if not path.exists():
        return series
    for line in path.read_text(encoding="utf-8").splitlines():
        scalars = json.loads(line)
        for name, value in scalars.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                series.setdefault(name, []).append((scalars["step"], value))
    return series


def key_of(levels: Mapping[str, str]) -> tuple:
    """Levels by factor as the keys of `Results` have them."""
    return tuple(sorted(levels.items()))


def _by_seed(
    runs: Sequence[PlannedRun], logged: Mapping, metric: str, config: MetricConfig
) -> dict[int, float]:
    take = {"last": lambda values: values[-1], "max": max, "min": min}[config.take]
    found = {run.seed: [value for _, value in logged[run.name].get(metric, [])] for run in runs}
    return {seed: float(take(values)) for seed, values in found.items() if values}


def _curve(series: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, Estimate]]:
    by_step: dict[int, list[float]] = {}
    for one in series:
        for step, value in one:
            by_step.setdefault(step, []).append(value)
    return [(step, estimate(values)) for step, values in sorted(by_step.items())]
