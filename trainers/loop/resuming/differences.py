"""In which settings two experiments differ, and what a run that resumes makes of each."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mm_models.config_tools import ResumeRules
from trainers.config.schema import ExperimentConfig

REFUSED, NOTED, ALLOWED, SWITCHED = "refused", "noted", "allowed", "switched"
ABSENT = object()
_SHOWN_CHARACTERS = 60


@dataclasses.dataclass(frozen=True)
class Difference:
    """One setting of two values; `str` shows it.

    Attributes:
        path: names from the experiment down to it.
        old, new: of the checkpoint and of this run; ABSENT on a side that does not have it.
        is_order: whether they are the names of a mapping, the same in another order.
    """

    path: tuple[str, ...]
    old: Any
    new: Any
    is_order: bool = False

    def __str__(self) -> str:
        """Such as `trainer.seed 0 → 9`."""
        return f"{'.'.join(self.path)} {_shown(self.old)} → {_shown(self.new)}"


def differences(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Every setting in which two trees differ; what one side lacks as a whole is one of them."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from differences(old.get(name, ABSENT), new.get(name, ABSENT), (*path, name))
        if old.keys() == new.keys() and list(old) != list(new):
            yield Difference(path, list(old), list(new), is_order=True)
    elif old != new:
        yield Difference(path, old, new)


def on_resume(difference: Difference, task: type) -> str:
    """REFUSED, NOTED or ALLOWED, by the rules of the config that has the field.

    Args:
        difference: what changed.
        task: dataclass of `ExperimentConfig.task`.
    """
    rule, kind = _rule_and_kind(difference.path, task)
    if difference.is_order and typing.get_origin(kind) is not dict:
        # Fields have no order, and one that is allowed to change may change that too.
        return ALLOWED
    if rule != SWITCHED:
        return rule
    numbers = all(isinstance(value, int | float) for value in (difference.old, difference.new))
    return NOTED if numbers and difference.old and difference.new else REFUSED


def rule_of(path: Sequence[str], task: type) -> str:
    """One of REFUSED, NOTED, ALLOWED and SWITCHED for a field; REFUSED where nothing is said."""
    return _rule_and_kind(path, task)[0]


def _rule_and_kind(path: Sequence[str], task: type) -> tuple[str, Any]:
    """The rule of a field and its type; None for one that nothing depends on."""
    kind: Any = ExperimentConfig
    is_unordered = False
    for name in path:
        rules = getattr(kind, "resume", ResumeRules())
        named = ((NOTED, rules.noted), (ALLOWED, rules.allowed), (SWITCHED, rules.switched))
        found = next((rule for rule, names in named if name in names), "")
        if found:
            return found, None
        is_unordered = name in rules.unordered and name == path[-1]
        kind = task if (kind, name) == (ExperimentConfig, "task") else _kind_of(kind, name)
    return REFUSED, None if is_unordered else kind


def _kind_of(kind: Any, name: str) -> Any:
    """The config class of a field or of an entry by name; None for anything else."""
    if dataclasses.is_dataclass(kind):
        hint = typing.get_type_hints(kind).get(name)
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            return next(part for part in typing.get_args(hint) if part is not type(None))
        return hint
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    return None


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
