"""The use of codes as a table, as JSON and as pictures."""

import json
from collections.abc import Mapping

import numpy as np

from mm_models.r3.relations import Grid, TokenRelations, is_cross
from trainers.evaluation.pictures import drawing, panels
from trainers.tasks.r3.appearance import code_label, long_name
from trainers.tasks.r3.evaluators.code_usage import CodeUsage
from trainers.tasks.r3.role_panels import usage_line
from trainers.tasks.r3.role_pictures import code_bars, role_picture

_SHOWN_CODES = 16


def usage_scores(usages: Mapping[str, CodeUsage]) -> dict[str, float]:
    """The measures of each dictionary, `decoder_block_0_attention_<measure>` and so on, and their
    means over the dictionaries that have them."""
    found: dict[str, float] = {}
    every: dict[str, list[float]] = {}
    for name, usage in usages.items():
        for measure, value in usage.measures().items():
            found[f"{name.replace('/', '_')}_{measure}"] = value
            every.setdefault(measure, []).append(value)
    return {measure: float(np.mean(values)) for measure, values in every.items()} | found


def usage_json(usages: Mapping[str, CodeUsage], step: int) -> str:
    """Everything that was counted, by the dictionary's name."""
    dictionaries = {
        name: {
            **usage.measures(),
            "counts": usage.counts.tolist(),
            "words": {str(code): dict(pairs) for code, pairs in usage.words.items()},
        }
        for name, usage in usages.items()
    }
    return json.dumps({"step": step, "dictionaries": dictionaries}, ensure_ascii=False) + "\n"


def code_names(table: str) -> dict[str, dict[int, list[str]]]:
    """The words that name codes, by dictionary and code, of what `usage_json` wrote."""
    return {
        name: {int(code): list(words) for code, words in one["words"].items()}
        for name, one in json.loads(table)["dictionaries"].items()
    }


def usage_panels(usages: Mapping[str, CodeUsage], grid: Grid) -> list[panels.Panel]:
    """The measures as a table, bars of the codes of each dictionary, and of each that looks at the
    video its most used codes with the words they prefer and what they look at.

    Args:
        usages: by the dictionary's name.
        grid: of the longest video.
    """
    bars = [code_bars(one.counts, [usage_line(name, _shares(one))]) for name, one in usages.items()]
    shown = [
        panels.TextPanel("usage", _measure_table(usages)),
        panels.TextPanel("words", _word_table(usages)),
        panels.ImagePanel("codes", drawing.stack(bars)),
    ]
    for name, one in usages.items():
        if is_cross(name) and one.looked_at is not None:
            shown.append(panels.ImagePanel(f"looked_at/{name}", _code_picture(name, one, grid)))
    return shown


def _measure_table(usages: Mapping[str, CodeUsage]) -> str:
    rows = {name: usage.measures() for name, usage in usages.items()}
    measures = list(dict.fromkeys(measure for row in rows.values() for measure in row))
    lines = [f"| dictionary | {' | '.join(measures)} |", "|---" * (1 + len(measures)) + "|"]
    for name, row in rows.items():
        cells = (f"{row[measure]:.3g}" if measure in row else "" for measure in measures)
        lines.append(f"| {long_name(name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _word_table(usages: Mapping[str, CodeUsage]) -> str:
    lines = ["| dictionary | code | share | words, bits |", "|---" * 4 + "|"]
    for name, usage in usages.items():
        for code in _most_used(usage):
            words = ", ".join(f"{word} {bits:.1f}" for word, bits in usage.words.get(code, ()))
            if words:
                share = _shares(usage)[code]
                words = words.replace("|", "\\|")
                lines.append(f"| {long_name(name)} | {code} | {share:.1%} | {words} |")
    return "\n".join(lines)


def _code_picture(name: str, usage: CodeUsage, grid: Grid) -> np.ndarray:
    """A row for each code, as for a token that took it."""
    codes = np.array(_most_used(usage))
    regions = grid.rows * grid.columns
    looked_at = usage.looked_at[codes]
    # Steps behind the end of every video are left out.
    steps = int(np.flatnonzero(looked_at.max(axis=0)).max(initial=0)) // regions + 1
    looked_at = looked_at[:, : steps * regions]
    rows = TokenRelations(codes[:, None], codes, looked_at, {})
    labels = [code_label(code, usage.names.get(code, ())) for code in codes]
    return role_picture(labels, {name: rows}, grid._replace(steps=steps))


def _most_used(usage: CodeUsage) -> list[int]:
    order = np.argsort(-usage.counts, kind="stable")[:_SHOWN_CODES]
    return [int(code) for code in order if usage.counts[code]]


def _shares(usage: CodeUsage) -> np.ndarray:
    return usage.counts / max(usage.counts.sum(), 1.0)
