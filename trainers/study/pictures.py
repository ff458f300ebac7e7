"""A study's results as pictures: the final values, and how they came about."""

import io
from collections.abc import Mapping
from typing import Any

from trainers.study.results import Results, key_of
from trainers.study.tables import fixed_levels, title

_PANEL_INCHES = (4.0, 3.0)
_DOTS_PER_INCH = 110
# Distinct for colour-blind eyes (Okabe and Ito); grey for the control.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_CONTROL_COLOR = "#777777"


def final_picture(results: Results) -> bytes:
    """PNG: a panel per metric, levels of the rows side by side, other factors along the axis.

    Dots are seeds, the bar is the mean with its standard error, the dotted line is chance.
    """
    figure, panels = _figure(1, len(results.study.metrics))
    groups, colors = fixed_levels(results.study), _colors(results)
    cells = results.cells_by_key
    for axes, metric in zip(panels[0], results.study.metrics, strict=True):
        for place, level in enumerate(colors):
            offset = (place + 0.5) / len(colors) - 0.5
            for group, fixed in enumerate(groups):
                cell = cells[key_of({**fixed, results.study.report.rows: level}), metric]
                if cell.estimate is not None:
                    _draw_cell(axes, group + 0.8 * offset, cell, colors[level])
        names = [", ".join(f"{name} {level}" for name, level in fixed.items()) for fixed in groups]
        axes.set_xticks(range(len(groups)), names)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        _finish_panel(axes, results, metric)
    return _png(figure, colors)


def curves_picture(results: Results) -> bytes:
    """PNG: a column per metric, a row per combination of the other factors, mean over seeds by
    step."""
    groups, colors = fixed_levels(results.study), _colors(results)
    figure, panels = _figure(len(groups), len(results.study.metrics))
    for row, fixed in zip(panels, groups, strict=True):
        for axes, metric in zip(row, results.study.metrics, strict=True):
            drawn = 0
            for level, color in colors.items():
                key = key_of({**fixed, results.study.report.rows: level})
                curve = results.curves[key, metric]
                drawn += len(curve)
                steps, means = [step for step, _ in curve], [value.mean for _, value in curve]
                axes.plot(steps, means, color=color, marker=".", markersize=4, linewidth=1.2)
            if not drawn:
                axes.text(0.5, 0.6, "not logged", ha="center", transform=axes.transAxes)
            axes.set_xlabel("step", fontsize=8)
            _finish_panel(axes, results, metric)
        row[0].set_ylabel(", ".join(f"{name} {level}" for name, level in fixed.items()))
    return _png(figure, colors)


def _figure(num_rows: int, num_columns: int) -> tuple[Any, Any]:
    """A figure without the library's global state, so that any thread and any process may draw."""
    from matplotlib.figure import Figure

    width, height = _PANEL_INCHES
    size = (width * num_columns, height * num_rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(num_rows, num_columns, squeeze=False)


def _draw_cell(axes: Any, place: float, cell: Any, color: str) -> None:
    values = list(cell.by_seed.values())
    axes.plot([place] * len(values), values, ".", color=color, alpha=0.45, markersize=6)
    error = cell.estimate.standard_error or 0.0
    axes.errorbar([place], [cell.estimate.mean], [error], fmt="_", color=color, capsize=3, ms=12)


def _finish_panel(axes: Any, results: Results, metric: str) -> None:
    chance = results.study.metrics[metric].chance
    if chance is not None:
        axes.axhline(chance, color="#999999", linestyle=":", linewidth=1)
    axes.set_title(title(results.study, metric), fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", alpha=0.25)


def _colors(results: Results) -> dict[str, str]:
    """Colour by level of the rows."""
    report, found = results.study.report, {}
    for level in results.study.factors[report.rows].levels:
        number = len([name for name in found if name != report.control])
        others = _COLORS[number % len(_COLORS)]
        found[level] = _CONTROL_COLOR if level == report.control else others
    return found


def _png(figure: Any, colors: Mapping[str, str]) -> bytes:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, marker="o", markersize=4) for color in colors.values()]
    figure.legend(handles, list(colors), loc="outside lower center", ncols=len(colors), fontsize=8)
    content = io.BytesIO()
    # Without a date and a version the same results make the same bytes.
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return content.getvalue()
