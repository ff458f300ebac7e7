"""Commands that make what the runs read: each once, and not at all when its output exists."""

import itertools
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence

from mm_models.errors import UserError
from trainers.study.config import PreparationConfig, StudyConfig, substitute
from trainers.study.plan import PlannedRun

COMMAND = (sys.executable, "-m", "mmstack")


def pending(study: StudyConfig, runs: Sequence[PlannedRun]) -> list[PreparationConfig]:
    """Commands, in order and without repetition, whose output does not exist.

    Args:
        study: names the commands.
        runs: those that will run; a command is filled in for their levels and seeds alone.
    """
    found: dict[tuple[str, str], PreparationConfig] = {}
    for step, run in itertools.product(study.preparations.values(), runs):
        values = {**run.levels, "seed": run.seed}
        filled = PreparationConfig(substitute(step.run, values), substitute(step.makes, values))
        _require_filled(filled, values)
        if not pathlib.Path(filled.makes).exists():
            found[filled.run, filled.makes] = filled
    return list(found.values())


def _require_filled(step: PreparationConfig, values: dict) -> None:
    left = re.findall(r"\{(\w+)\}", f"{step.run} {step.makes}")
    if left:
        raise UserError(
            f"preparation {step.run!r} mentions {{{left[0]}}}, which is no factor; use one of "
            f"{sorted(values)}"
        )


def prepare(
    steps: Sequence[PreparationConfig], say: Callable[[str], None], command: Sequence[str] = COMMAND
) -> None:
    """Runs the commands one after the other; their output goes where this process's goes.

    Raises:
        UserError: a command failed, or made something else than it should.
    """
    for number, step in enumerate(steps, 1):
        say(f"preparation {number} of {len(steps)}: mmstack {step.run}")
        status = subprocess.run([*command, *shlex.split(step.run)], check=False).returncode
        if status:
            raise UserError(
                f"preparation `mmstack {step.run}` ended with exit code {status}; its message "
                "stands above"
            )
        if not pathlib.Path(step.makes).exists():
            raise UserError(
                f"preparation `mmstack {step.run}` did not make {step.makes}; correct its `makes`"
            )
