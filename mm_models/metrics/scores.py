"""Means with their standard errors, over all examples or by group."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np


class Score(NamedTuple):
    """A measured number.

    Attributes:
        value: the number.
        standard_error: its standard error over examples drawn anew; 0 for a single one.
        count: examples it is made of.
    """

    value: float
    standard_error: float
    count: int


def mean_score(values: np.ndarray) -> Score:
    """The mean of `values: float[examples]`, NaN of none."""
    values = np.asarray(values, np.float64)
    count = len(values)
    if not count:
        return Score(float("nan"), 0.0, 0)
    spread = values.std(ddof=1) / np.sqrt(count) if count > 1 else 0.0
    return Score(float(values.mean()), float(spread), count)


def group_rows(groups: Sequence[Hashable]) -> dict[Hashable, np.ndarray]:
    """int64 rows of each group, groups in the order of their first row."""
    rows: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    return {group: np.array(members, np.int64) for group, members in rows.items()}


def mean_by_group(values: np.ndarray, groups: Sequence[Hashable]) -> dict[Hashable, Score]:
    """`mean_score` of each group.

    Args:
        values: float[examples].
        groups: one for each example, such as its question kind or its language.
    """
    values = np.asarray(values, np.float64)
    return {group: mean_score(values[rows]) for group, rows in group_rows(groups).items()}


def macro_score(values: np.ndarray, pages: Sequence[Hashable]) -> Score:
    """The mean over pages of the mean inside each page, each page counting the same.

    Args:
        values: float[examples].
        pages: what each example is a part of, such as a video whose segments are captioned.
    """
    inside = mean_by_group(values, pages)
    return mean_score(np.array([score.value for score in inside.values()]))


def average_of(scores: Sequence[Score]) -> Score:
    """The plain mean of independent scores, such as those of several languages."""
    if not scores:
        return Score(float("nan"), 0.0, 0)
    values = [score.value for score in scores]
    errors = [score.standard_error for score in scores]
    return Score(
        float(np.mean(values)),
        float(np.sqrt(np.sum(np.square(errors))) / len(scores)),
        sum(score.count for score in scores),
    )
