"""What a mixture of experts is made of."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mm_models.errors import UserError

ROUTERS = ("experts_choose", "tokens_choose")
CAPACITY_ROUNDINGS = ("half_even", "ceil_multiple_of_4")
EVAL_GROUPS = ("example", "batch")
DISPATCHES = ("indexed", "einsum")


@dataclasses.dataclass
class RoutingOptions:
    """How tokens and experts meet.

    Attributes:
        router: `experts_choose`: every expert takes the tokens it likes best;
            `tokens_choose`: every token asks for its best experts, which take as many as they can.
        top_k: experts that a token asks for (`tokens_choose`).
        capacity_factor: tokens that the experts take together, relative to what is there: the
            tokens (`experts_choose`), or the tokens times `top_k` (`tokens_choose`).
        capacity_rounding: `half_even`, or `ceil_multiple_of_4` as V-MoE has it.
        min_capacity: least tokens of an expert in a group. 0 lets small groups go without experts.
        group_size: most tokens that compete with each other.
        eval_group: who competes outside training: the tokens of one `example`, so that features do
            not depend on the batch, or those of the `batch` as in training.
        ignore_padding: keep padding away from the experts where a padding mask is given.
        dispatch: `indexed` (gather and scatter) or `einsum` (one-hot products, for TPU).
    """

    router: str = "experts_choose"
    top_k: int = 1
    capacity_factor: float = 1.0
    capacity_rounding: str = "half_even"
    min_capacity: int = 1
    group_size: int = 2048
    eval_group: str = "example"
    ignore_padding: bool = False
    dispatch: str = "indexed"


@dataclasses.dataclass
class ExpertOptions(RoutingOptions):
    """The same, with how many feed-forward networks stand side by side.

    Raises:
        UserError: a value out of range, or an unknown choice.
    """

    num_experts: int = dataclasses.field(kw_only=True)

    def __post_init__(self):
        for name, choices in (
            ("router", ROUTERS),
            ("capacity_rounding", CAPACITY_ROUNDINGS),
            ("eval_group", EVAL_GROUPS),
            ("dispatch", DISPATCHES),
        ):
            _check(getattr(self, name) in choices, self, name, f"one of {', '.join(choices)}")
        _check(self.num_experts >= 1, self, "num_experts", "at least 1")
        _check(1 <= self.top_k <= self.num_experts, self, "top_k", "from 1 to experts.num_experts")
        _check(self.capacity_factor > 0, self, "capacity_factor", "positive")
        _check(self.min_capacity >= 0, self, "min_capacity", "at least 0")
        _check(self.group_size >= 1, self, "group_size", "at least 1")


def _check(holds: bool, options: ExpertOptions, name: str, demand: str) -> None:
    if not holds:
        raise UserError(f"experts.{name} is {getattr(options, name)!r}; it must be {demand}")


def as_options(options: ExpertOptions | Mapping[str, Any]) -> ExpertOptions:
    """The options themselves, or those that a mapping of their fields describes."""
    return options if isinstance(options, ExpertOptions) else ExpertOptions(**options)
