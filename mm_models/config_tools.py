"""What the configs of all systems share: filling nulls, dicts."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any


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
