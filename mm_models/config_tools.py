"""What the configs of all systems share: filling nulls, checks that name the field, dicts."""

import dataclasses
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mm_models.errors import UserError


def choose(table: Mapping[str, Any], key: str, field: str) -> Any:
    """The entry of `key`; raises UserError naming the field when there is none."""
    if key not in table:
        raise UserError(f"{field} is {key!r}; it must be one of {sorted(table)}")
    return table[key]


def check_rate(rate: float, field: str) -> None:
    """Raises UserError outside [0, 1)."""
    if not 0.0 <= rate < 1.0:
        raise UserError(f"{field} is {rate}; it must be at least 0 and below 1")


def check_choice(value: str, choices: Iterable[str], field: str) -> None:
    """Raises UserError for a value that is none of the choices."""
    if value not in choices:
        raise UserError(f"{field} is {value!r}; it must be one of {list(choices)}")


def check_positive(value: float, field: str) -> None:
    """Raises UserError unless `value` is above 0."""
    if not value > 0:
        raise UserError(f"{field} is {value}; it must be above 0")


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


def fill(config: Any, values: Mapping[str, Any]) -> Any:
    """A copy of a dataclass in which those of `values` stand whose fields are null."""
    missing = {name: value for name, value in values.items() if getattr(config, name) is None}
    return dataclasses.replace(config, **missing)


def from_dict(values: Mapping[str, Any], kind: type) -> Any:
    """The inverse of `dataclasses.asdict` for a config class whose fields may be configs."""
    kinds = typing.get_type_hints(kind)
    return kind(
        **{
            name: from_dict(value, kinds[name]) if dataclasses.is_dataclass(kinds[name]) else value
            for name, value in values.items()
        }
    )
