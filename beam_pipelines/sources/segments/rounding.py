"""How the annotated times of a segment become those of its clip.

A rule takes start and end in seconds and returns those of the clip, or None where nothing is left.
"""

import math
from collections.abc import Callable

Span = tuple[float, float]
Rounding = Callable[[float, float], Span | None]


def exact(start: float, end: float) -> Span | None:
    """The times as they are."""
    return (start, end) if 0.0 <= start < end else None


def whole_seconds(start: float, end: float) -> Span | None:
    """Both times cut to whole seconds, as where features of every second are sliced by them."""
    return exact(float(math.floor(start)), float(math.floor(end)))


def second_earlier(start: float, end: float) -> Span | None:
    """From a whole second before the start's to the second in which it ends."""
    return exact(float(max(math.floor(start) - 1, 0)), float(math.ceil(end)))
