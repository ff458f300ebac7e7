"""Checks of choices and ranges whose errors name the field, its value and what it may be.

Imports nothing but the error, so every room may use it.
"""

import contextlib
import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mm_models.errors import UserError


def choose(table: Mapping[str, Any], key: str, field: str) -> Any:
    """The entry of `key`; raises UserError when there is none."""
    check_choice(key, table, field)
    return table[key]


def check_choice(value: Any, choices: Iterable[Any], field: str) -> None:
    """Raises UserError for a value that is none of the choices."""
    if value not in choices:
        known = ", ".join(str(choice) for choice in choices)
        raise UserError(f"{field} is {value!r}; it must be one of {known}")


@contextlib.contextmanager
def within(field: str, config: Any) -> Iterator[None]:
    """Errors about a field of `config`, which stands at `field`, give its name in full.

    A config's own checks begin their sentences with the field as the config knows it, such as
    `video.size is 'smal'; …`.
    """
    try:
        yield
    except UserError as error:
        first = re.match(r"\w+", str(error))
        if first is None or first[0] not in {item.name for item in dataclasses.fields(config)}:
            raise
        raise UserError(f"{field}.{error}") from error


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """What to do about a word that is none of the known ones: the nearest, or all there are."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"did you mean {prefix}{near[0]}?"
    return f"known there: {', '.join(names)}" if names else "nothing is known there; leave it out"


def check_at_least(value: float, smallest: float, field: str) -> None:
    """Raises UserError for what is below `smallest`, or no finite number."""
    if not smallest <= value < math.inf:
        raise UserError(f"{field} is {value}; it must be at least {smallest}")


def check_at_most(value: float, largest: float, field: str) -> None:
    """Raises UserError for what is above `largest`."""
    if not value <= largest:
        raise UserError(f"{field} is {value}; it must be at most {largest}")


def check_fields(config: Any, smallest: float, names: Iterable[str], field: str) -> None:
    """`check_at_least` for fields of a dataclass that stands at `field`."""
    for name in names:
        check_at_least(getattr(config, name), smallest, f"{field}.{name}")


def check_not_negative(config: Any, field: str) -> None:
    """Raises UserError for the first number of a dataclass that is below 0."""
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if isinstance(value, int | float):
            check_at_least(value, 0, f"{field}.{item.name}")


def check_positive(value: float, field: str) -> None:
    """Raises UserError unless `value` is above 0 and finite."""
    if not 0 < value < math.inf:
        raise UserError(f"{field} is {value}; it must be above 0")


def check_rate(rate: float, field: str) -> None:
    """Raises UserError outside [0, 1)."""
    if not 0.0 <= rate < 1.0:
        raise UserError(f"{field} is {rate}; it must be at least 0 and below 1")


def check_share(share: float, field: str) -> None:
    """Raises UserError outside [0, 1]."""
    if not 0.0 <= share <= 1.0:
        raise UserError(f"{field} is {share}; it must lie between 0 and 1")


def check_part(part: float, field: str) -> None:
    """Raises UserError outside (0, 1]."""
    if not 0.0 < part <= 1.0:
        raise UserError(f"{field} is {part}; it must be above 0 and at most 1")


def check_lengths(values: Sequence[int], count: int, field: str) -> None:
    """Raises UserError unless `values` are `count` whole numbers of at least 1."""
    if len(values) != count or any(value < 1 for value in values):
        raise UserError(f"{field} is {list(values)}; it must be {count} numbers of at least 1")


def check_divides(size: int, patch: int, field: str, patch_field: str) -> None:
    """Raises UserError unless `size` is a multiple of `patch`."""
    if patch < 1 or size < patch or size % patch:
        raise UserError(
            f"{field} is {size}, which {patch_field} = {patch} does not divide; "
            "change one of the two"
        )


def check_pattern(pattern: str, field: str) -> None:
    """Raises UserError for what is no regular expression, or an empty one."""
    if not pattern:
        raise UserError(f"{field} is empty; give a regular expression for the variables' paths")
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(f"{field} is {pattern!r}, no regular expression: {error}") from error
