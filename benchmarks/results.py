"""The rows that benchmarks give."""

import statistics
from collections.abc import Iterable


def result(
    name: str,
    ours: float,
    alternative: float,
    ratio: float,
    unit: str,
    *,
    least: float | None = None,
    most: float | None = None,
) -> dict:
    """A row of the table; the ratio is aimed at `least` or `most`, or at nothing."""
    aim, met = "", True
    if least is not None:
        aim, met = f">= {least}", ratio >= least
    elif most is not None:
        aim, met = f"<= {most}", ratio <= most
    return {
        **{"name": name, "ours": ours, "alternative": alternative, "ratio": ratio},
        **{"aim": aim, "met": met, "unit": unit},
    }


def compare(
    name: str,
    pairs: Iterable[tuple[float, float]],
    unit: str,
    *,
    least: float | None = None,
    most: float | None = None,
) -> dict:
    """A row of the medians of times of alternating rounds, ours and the alternative's.

    The ratio is how many times longer ours takes or, with `least`, how many times shorter.
    """
    ours, alternative = zip(*pairs, strict=True)
    quotients = [left / right for left, right in zip(ours, alternative, strict=True)]
    if least is not None:
        quotients = [1 / quotient for quotient in quotients]
    ratio, medians = statistics.median(quotients), map(statistics.median, (ours, alternative))
    return result(name, *medians, ratio, unit, least=least, most=most)
