"""Every experiment of a folder through the TPU compiler, as one table."""

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import yaml

from mm_models.errors import UserError
from trainers.atomic_files import write_text
from trainers.config.loading import load_config, to_yaml

_ROOMS = ("mm_models", "trainers", "beam_pipelines")
_HEADER = (
    *("experiment", "step of", "slice", "examples of a replica", "GiB", "by hand × "),
    *("GFLOP", "ms at least", "bound by", "MFU at most"),
)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of every experiment.

    Attributes:
        slices: see `placements`; of several, an experiment takes the first that holds it.
        overrides: texts `a.b=c`.
        blocks: see `HowToCompile`.
        results: folder of what is done, which is not done again while code and config are the same;
            empty for none.
    """

    slices: str
    overrides: Sequence[str] = ()
    blocks: int = 0
    results: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """A step of an experiment, or why there is none.

    Attributes:
        experiment: path of its file.
        cells: texts of the other columns.
    """

    experiment: str
    cells: Sequence[str]


def experiments(folder: str) -> Iterator[str]:
    """Paths of the YAML files below a folder that are experiments, not templates or studies."""
    for path in sorted(pathlib.Path(folder).rglob("*.yaml")):
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(tree, dict) and {"task", "streams"} <= set(tree):
            yield path.as_posix()


def compile_every(folder: str, asked: Asked, say: Callable[[str], None]) -> list[Row]:
    """Compiles each experiment of a folder in a process of its own, one after the other; `say`
    shows a line about what goes on.

    Raises:
        UserError: no experiment there.
    """
    paths = list(experiments(folder))
    if not paths:
        raise UserError(f"--config_dir {folder} holds no experiment; give a folder such as configs")
    rows: list[Row] = []
    start = time.monotonic()
    for number, path in enumerate(paths):
        left = (time.monotonic() - start) / number * (len(paths) - number) if number else 0.0
        say(f"{number + 1}/{len(paths)} {path}, about {left / 60:.0f} min left")
        rows += rows_of(path, asked)
    return rows


def rows_of(path: str, asked: Asked) -> list[Row]:
    """Rows of one experiment, from the folder of results where they are there."""
    config = load_config([path], asked.overrides)
    key = f"{_sources_digest()} {asked.slices} {asked.blocks} {to_yaml(config)}"
    name = f"rows-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    file = pathlib.Path(asked.results, name)
    if asked.results and file.exists():
        return [Row(path, cells) for cells in json.loads(file.read_text())]
    cells, lasts = _in_own_process(path, asked)
    if asked.results and lasts:
        os.makedirs(asked.results, exist_ok=True)
        write_text(str(file), json.dumps(cells))
    return [Row(path, each) for each in cells]


def _in_own_process(path: str, asked: Asked) -> tuple[list[Sequence[str]], bool]:
    """Cells of an experiment's rows, and whether they stay as long as code and config do, which
    what an experiment lacks, such as its data, does not.

    The compiler takes many GiB, and a system that has none left ends the process.
    """
    # Its threads take memory in turn; with a pool for each, glibc keeps several times what is used.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_cells, path, asked).result(), True
        except concurrent.futures.process.BrokenProcessPool:
            reason = "the compiler needs more memory than this machine has"
            return [("-", asked.slices, "-", reason)], True
        except UserError as error:
            return [("-", asked.slices, "-", str(error))], False


def _cells(path: str, asked: Asked) -> list[Sequence[str]]:
    from trainers.planning.tpu.compiled_plan import HowToCompile, first_that_fits
    from trainers.planning.tpu.kept_reports import KeptReports
    from trainers.planning.tpu.placement import placements
    from trainers.planning.tpu.plan_text import row_of

    config = load_config([path], asked.overrides)
    placed = placements(asked.slices, config.runtime.model_parallel)
    how = HowToCompile(KeptReports(asked.results), say, blocks=asked.blocks)
    plan = first_that_fits(config, placed, how)
    return [row_of(plan, step) for step in plan.steps]


def say(line: str) -> None:
    """Shows a line beside the output."""
    print(line, file=sys.stderr, flush=True)


def _sources_digest() -> str:
    """Of the code that a step is made of."""
    digest = hashlib.sha256()
    root = pathlib.Path(__file__).parents[3]
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def markdown(rows: Sequence[Row]) -> list[str]:
    """Lines of a table."""
    lines = [f"| {' | '.join(_HEADER)} |", f"|{'---|' * len(_HEADER)}"]
    for row in rows:
        cells = [row.experiment, *row.cells]
        lines.append(f"| {' | '.join([*cells, *[''] * (len(_HEADER) - len(cells))])} |")
    return lines
