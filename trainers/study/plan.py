"""The runs of a study, and whether a folder still fits the run that is asked for."""

import dataclasses
import fnmatch
import itertools
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from mm_models.errors import UserError
from trainers.study.config import StudyConfig, substitute

CONFIG = "study-config.yaml"
RESULT = "study-result.json"
METRICS = "metrics.jsonl"


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One training run of a study.

    Attributes:
        name: `factor-level_factor-level_seed-1`, its folder's name.
        folder: run folder.
        levels: level by factor.
        seed: value of `trainer.seed`.
        overrides: everything laid over the study's experiment files.
    """

    name: str
    folder: pathlib.Path
    levels: Mapping[str, str]
    seed: int
    overrides: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether it has come to its end without an error."""
        return (read_result(self.folder) or {}).get("exit_code") == 0


def plan_runs(
    study: StudyConfig, output_dir: str | pathlib.Path, overrides: Iterable[str] = ()
) -> list[PlannedRun]:
    """Every combination of levels and seeds, seed by seed, so that early results cover all levels.

    Args:
        study: checked.
        output_dir: folder of the study; runs lie in its `runs/`.
        overrides: of every run, stronger than the study's own.
    """
    names = list(study.factors)
    combinations = list(itertools.product(*(study.factors[name].levels for name in names)))
    return [
        _run(study, dict(zip(names, levels, strict=True)), seed, output_dir, tuple(overrides))
        for seed in study.seeds
        for levels in combinations
    ]


def _run(
    study: StudyConfig,
    levels: dict[str, str],
    seed: int,
    output_dir: str | pathlib.Path,
    overrides: tuple[str, ...],
) -> PlannedRun:
    name = "_".join([*(f"{factor}-{level}" for factor, level in levels.items()), f"seed-{seed}"])
    of_levels = [
        override
        for factor, level in levels.items()
        for override in (*study.factors[factor].each, *study.factors[factor].levels[level])
    ]
    values = {**levels, "seed": seed}
    merged = [*study.overrides, *of_levels, f"trainer.seed={seed}", *overrides]
    return PlannedRun(
        name=name,
        folder=pathlib.Path(output_dir) / "runs" / name,
        levels=levels,
        seed=seed,
        overrides=tuple(substitute(override, values) for override in merged),
    )


def select(runs: list[PlannedRun], pattern: str) -> list[PlannedRun]:
    """Runs whose name matches the shell pattern. Raises UserError when none does."""
    chosen = [run for run in runs if not pattern or fnmatch.fnmatchcase(run.name, pattern)]
    if not chosen:
        raise UserError(
            f"--only {pattern!r} matches none of the {len(runs)} runs, such as {runs[0].name}; "
            "it is a shell pattern, so put * where the name goes on"
        )
    return chosen


def resolve(study: StudyConfig, run: PlannedRun) -> str:
    """The run's whole experiment as YAML, checked. Raises UserError naming the run."""
    from trainers.config.loading import load_config, to_yaml

    try:
        return to_yaml(load_config(study.config_files, list(run.overrides)))
    except UserError as error:
        raise UserError(f"run {run.name}: {error}") from error


def train_steps(resolved: str) -> int:
    """Steps that a resolved experiment takes."""
    import yaml

    return yaml.safe_load(resolved)["trainer"]["train_steps"]


def check_folder(run: PlannedRun, resolved: str) -> None:
    """Raises UserError when the folder holds another experiment; `runtime` alone may differ."""
    path = run.folder / CONFIG
    if not path.exists():
        if (run.folder / METRICS).exists():
            raise UserError(
                f"{run.folder} holds a run that this study did not start; give another --output_dir"
            )
        return
    here, there = _leaves(resolved), _leaves(path.read_text(encoding="utf-8"))
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):
            raise UserError(
                f"{run.folder} was made with {key} = {there.get(key)!r}, and the study now says "
                f"{here.get(key)!r}; put that back, give another --output_dir or remove the folder"
            )


def _leaves(text: str) -> dict[str, Any]:
    """Leaves of a config by dotted path, without `runtime`, which makes no other experiment."""
    import yaml

    from trainers.loop.identity import flatten

    leaves = flatten(yaml.safe_load(text))
    return {key: value for key, value in leaves.items() if not key.startswith("runtime.")}


def read_result(folder: pathlib.Path) -> dict[str, Any] | None:
    """What `write_result` wrote, or None."""
    path = folder / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_result(run: PlannedRun, exit_code: int, seconds: float) -> None:
    """Remembers how a run ended; a later one of the same run adds its time."""
    before = (read_result(run.folder) or {}).get("seconds", 0.0)
    result = {"exit_code": exit_code, "seconds": round(before + seconds, 1)}
    write_bytes(run.folder / RESULT, (json.dumps(result) + "\n").encode())


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file that appears by rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)
