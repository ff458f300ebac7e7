"""Judged phrases as scores, as a table of categories, and as text."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from mm_models.metrics.classification import roc_auc
from trainers.tasks.grounding.evaluators.judged_phrases import GOOD_IOU, JudgedPhrase

GUESSES = ("center", "random_point", "random_object")
SUBSETS = ("", "_large", "_shared")
Table = list[dict[str, float | str]]


def pointing_scores(
    judged: Sequence[JudgedPhrase], large_share: float, rare_share: float, levels: Sequence[str]
) -> dict[str, float]:
    """Means over phrases by name; what no phrase tells is left out.

    Args:
        judged: the phrases.
        large_share: smallest union box, as a share of the picture, of those that are `_large`.
        rare_share: largest share of the frames in which a phrase that is asked for its frame is.
        levels: names of the levels.
    """
    subsets: dict[str, Callable[[JudgedPhrase], bool]] = {
        "": lambda one: True,
        "_large": lambda one: one.box_share >= large_share,
        "_shared": lambda one: one.is_shared,
    }
    scores: dict[str, float] = {}
    for ending, belongs in subsets.items():
        chosen = [one for one in judged if belongs(one)]
        scores[f"evaluated{ending}"] = float(len(chosen))
        if not chosen:
            continue
        scores[f"pointing{ending}"] = _mean(one.is_hit for one in chosen)
        for name in GUESSES:
            scores[f"{name}_pointing{ending}"] = _mean(one.guesses[name] for one in chosen)
    if judged:
        scores["sentence_pointing"] = _mean(one.sentence_hit for one in judged)
        scores["attention_correctness"] = _mean(one.attention_correctness for one in judged)
        scores["iou_accuracy"] = _mean(one.iou >= GOOD_IOU for one in judged)
    shares = _level_shares(judged, levels)
    scores |= {f"level_{name}": share for name, share in shares.items()}
    return scores | _temporal_scores(judged, rare_share)


def presence_scores(judged: Sequence[JudgedPhrase], absent: np.ndarray) -> dict[str, float]:
    """Whether scores tell pictures that phrases are about from others, `float64[absent]`."""
    if not len(absent) or not judged:
        return {}
    present = np.array([one.score for one in judged])
    is_present = np.arange(len(present) + len(absent)) < len(present)
    return {"presence_auc": roc_auc(np.concatenate([present, absent]), is_present)}


def _temporal_scores(judged: Sequence[JudgedPhrase], rare_share: float) -> dict[str, float]:
    rare = [one for one in judged if 0 < one.visible_share <= rare_share]
    if not rare:
        return {}
    return {
        "evaluated_temporal": float(len(rare)),
        "temporal_hit": _mean(one.is_in_frame for one in rare),
        "random_frame_temporal_hit": _mean(one.visible_share for one in rare),
    }


def _level_shares(judged: Sequence[JudgedPhrase], levels: Sequence[str]) -> dict[str, float]:
    """Of the words with a score, which share chose each level."""
    counts = Counter(level for one in judged for level in one.levels)
    total = sum(counts.values())
    return {name: counts[number] / total for number, name in enumerate(levels)} if total else {}


def category_table(
    judged: Sequence[JudgedPhrase], large_share: float, levels: Sequence[str]
) -> Table:
    """A row for each category, those of most phrases first; a phrase of several counts in each."""
    names = Counter(name for one in judged for name in one.categories)
    table: Table = []
    for name, count in sorted(names.items(), key=lambda pair: (-pair[1], pair[0])):
        own = [one for one in judged if name in one.categories]
        scores = pointing_scores(own, large_share, 0.0, levels)
        shown = ("pointing", "pointing_large", "attention_correctness", "iou_accuracy")
        shown += tuple(f"{guess}_pointing" for guess in GUESSES)
        shown += tuple(f"level_{level}" for level in levels)
        row: dict[str, float | str] = {"category": name, "evaluated": count}
        table.append(row | {key: scores.get(key, float("nan")) for key in shown})
    return table


def as_csv(table: Table) -> str:
    """The table with a line of names; empty cells where there is no number."""
    if not table:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value, 6) for key, value in row.items()} for row in table)
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """The table for TensorBoard."""
    if not table:
        return ""
    lines = [f"| {' | '.join(table[0])} |", "|---" * len(table[0]) + "|"]
    for row in table:
        cells = (_cell(value, 3).replace("|", "\\|") for value in row.values())
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float | str, digits: int) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.{digits}f}"
    return str(value)


def _mean(values) -> float:
    return float(np.mean(list(values)))
