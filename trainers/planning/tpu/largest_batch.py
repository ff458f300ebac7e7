"""The largest batch that a device holds, in few tries: each may take minutes."""

from collections.abc import Callable
from typing import NamedTuple

# Rows of a tile: batches between its multiples waste what they save.
TILE = 8
# More are not tried for: what holds so many is no model to train on a TPU.
MOST = 1 << 16
_PREDICTED_TRIES = 6


class Tried(NamedTuple):
    """A batch that was tried.

    Attributes:
        examples: how many.
        needed_bytes: that it takes.
        fits: whether that is there.
    """

    examples: int
    needed_bytes: int
    fits: bool


def largest_batch(
    try_batch: Callable[[int], Tried], start: int, available_bytes: int, most: int = MOST
) -> tuple[Tried | None, list[Tried]]:
    """Searches among 1, 2, 4 and the multiples of 8.

    Memory grows about evenly with the batch, so that two tries tell where the third should be.

    Args:
        try_batch: what a batch takes.
        start: first try.
        available_bytes: that a batch may take.
        most: examples that are not tried for more.

    Returns:
        The largest that fits, of `most` at the most, or None where not even one example does, and
        all that were tried.
    """
    tried: dict[int, Tried] = {}

    def attempt(examples: int) -> Tried:
        if examples not in tried:
            tried[examples] = try_batch(examples)
        return tried[examples]

    attempt(_rounded(start))
    while True:
        below = max((one for one in tried.values() if one.fits), default=None)
        above = min((one for one in tried.values() if not one.fits), default=None)
        if below is not None and below.examples >= most:
            return below, list(tried.values())
        following = _following(below, above, list(tried.values()), available_bytes, most)
        if following is None:
            return below, list(tried.values())
        attempt(following)


def _rounded(examples: float) -> int:
    """The next candidate below."""
    if examples >= TILE:
        return int(examples) // TILE * TILE
    return next(size for size in (4, 2, 1) if size <= max(examples, 1))


def _next_up(examples: int) -> int:
    return examples * 2 if examples < TILE else examples + TILE


def _following(
    below: Tried | None, above: Tried | None, tried: list[Tried], available: int, most: int
) -> int | None:
    """What to try next; None where nothing lies between what fits and what does not."""
    low = below.examples if below else 0
    high = above.examples if above else None
    if high is not None and (_next_up(low) if low else 1) >= high:
        return None
    # Where memory does not grow evenly, halving gets there after all.
    guess = _predicted(tried, available) if len(tried) < _PREDICTED_TRIES else None
    if guess is None:
        guess = low * 2 if high is None else (low + high) // 2
    smallest = _next_up(low) if low else 1
    largest = most if high is None else _rounded(high - 1)
    # What doubles is certain to end where memory does not grow.
    largest = min(largest, max(low * 8, smallest))
    return min(max(_rounded(guess), smallest), largest)


def _predicted(tried: list[Tried], available: int) -> float | None:
    """Where a line through the two tries nearest to the limit meets it."""
    if len(tried) < 2:
        return None
    nearest = sorted(tried, key=lambda one: abs(one.needed_bytes - available))[:2]
    (first, first_bytes, _), (second, second_bytes, _) = nearest
    if (second - first) * (second_bytes - first_bytes) <= 0:
        return None
    slope = (second_bytes - first_bytes) / (second - first)
    return first + (available - first_bytes) / slope
