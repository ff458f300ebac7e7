"""Whether blocks are computed again in the backward pass, wherever a model's config says so."""

import dataclasses
from collections.abc import Iterator
from typing import Any

FIELD = "rematerialize"


def set_rematerialize(model: Any, value: bool) -> None:
    """Sets the field wherever the config of a model, or of a part of it, has it."""
    for part in _parts(model):
        setattr(part, FIELD, value)


def does_rematerialize(model: Any) -> bool:
    """Whether a model, or a part of it, is to compute blocks again."""
    return any(getattr(part, FIELD) for part in _parts(model))


def can_rematerialize(model: Any) -> bool:
    """Whether the config of a model, or of a part of it, has the field."""
    return any(True for _ in _parts(model))


def _parts(model: Any) -> Iterator[Any]:
    if not dataclasses.is_dataclass(model):
        return
    for field in dataclasses.fields(model):
        if field.name == FIELD:
            yield model
        else:
            yield from _parts(getattr(model, field.name))
