"""A study's results as Markdown, CSV and JSON."""

import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Mapping, Sequence

from trainers.study.config import StudyConfig
from trainers.study.results import Cell, Estimate, Results, key_of

DIGITS = 3
NOTE = (
    "Mean ± standard error over seeds (their number in brackets); the second line of a cell is the "
    "difference to the control, `{control}`, paired by seed, ± its standard error."
)


def markdown(results: Results) -> str:
    """A table for each combination of the factors other than the rows, metrics side by side."""
    study = results.study
    cells = results.cells_by_key
    parts = [f"# {study.name or 'study'}", "", NOTE.format(control=study.report.control), ""]
    for fixed in fixed_levels(study):
        if fixed:
            parts += ["## " + ", ".join(f"{name} {level}" for name, level in fixed.items()), ""]
        parts += [*_table(study, fixed, cells), ""]
    total = len(results.finished) + len(results.unfinished)
    parts.append(f"{len(results.finished)} of {total} runs finished.")
    if results.unfinished:
        parts.append("Missing: " + ", ".join(run.name for run in results.unfinished) + ".")
    return "\n".join(parts) + "\n"


def fixed_levels(study: StudyConfig) -> list[dict[str, str]]:
    """Combinations of the levels of every factor but the rows."""
    names = [name for name in study.factors if name != study.report.rows]
    combinations = itertools.product(*(study.factors[name].levels for name in names))
    return [dict(zip(names, levels, strict=True)) for levels in combinations]


def title(study: StudyConfig, metric: str) -> str:
    """Heading of a metric."""
    return study.metrics[metric].title or metric


def comma_separated(results: Results) -> str:
    """CSV with a line per combination and metric."""
    factors = list(results.study.factors)
    columns = ("mean", "standard_error", "runs", "difference", "difference_standard_error")
    rows: list[list] = [[*factors, "metric", *columns, "chance"]]
    for cell in results.cells:
        own = dataclasses.astuple(cell.estimate) if cell.estimate else (None, None, 0)
        apart = dataclasses.astuple(cell.difference)[:2] if cell.difference else (None, None)
        numbers = (*own, *apart)
        chance = results.study.metrics[cell.metric].chance
        rows.append([*(cell.levels[name] for name in factors), cell.metric, *numbers, chance])
    return _csv(rows)


def curves_comma_separated(results: Results) -> str:
    """CSV with a line per combination, metric and step."""
    factors = list(results.study.factors)
    rows: list[list] = [[*factors, "metric", "step", "mean", "standard_error", "runs"]]
    for (key, metric), curve in results.curves.items():
        levels = [dict(key)[name] for name in factors]
        rows += [[*levels, metric, step, *dataclasses.astuple(value)] for step, value in curve]
    return _csv(rows)


def _csv(rows: list[list]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def as_json(results: Results) -> str:
    """JSON with the cells, the value of every run, and which runs are missing."""
    content = {
        "name": results.study.name,
        "control": {results.study.report.rows: results.study.report.control},
        "cells": [dataclasses.asdict(cell) for cell in results.cells],
        "finished": [run.name for run in results.finished],
        "unfinished": [run.name for run in results.unfinished],
    }
    return json.dumps(content, indent=1) + "\n"


def _table(study: StudyConfig, fixed: Mapping[str, str], cells: Mapping) -> list[str]:
    rows, metrics = study.report.rows, list(study.metrics)
    lines = [
        _line([rows, *(title(study, metric) for metric in metrics)]),
        _line(["---"] * (len(metrics) + 1)),
    ]
    for level in study.factors[rows].levels:
        key = key_of({**fixed, rows: level})
        lines.append(_line([level, *(_content(cells[key, metric]) for metric in metrics)]))
    if any(study.metrics[metric].chance is not None for metric in metrics):
        chances = [study.metrics[metric].chance for metric in metrics]
        lines.append(_line(["*chance*", *("" if c is None else f"{c:g}" for c in chances)]))
    return lines


def _content(cell: Cell) -> str:
    if cell.estimate is None:
        return "–"
    text = f"{_number(cell.estimate)} ({cell.estimate.count})"
    return f"{text}<br>{_number(cell.difference, sign='+')}" if cell.difference else text


def _number(value: Estimate, sign: str = "") -> str:
    mean = f"{value.mean:{sign}.{DIGITS}f}"
    # One value has no standard error.
    return mean if value.standard_error is None else f"{mean} ± {value.standard_error:.{DIGITS}f}"


def _line(columns: Sequence[str]) -> str:
    return "| " + " | ".join(columns) + " |"
