"""Which axis of each kind of weight is split over the devices that share one copy of a model."""

import dataclasses
import re
from typing import Any

from mm_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class Rule:
    """Where weights of one kind are split.

    Attributes:
        kind: what the axis counts; `whole` for weights of which every device has a copy.
        pattern: regular expression searched in the weight's path.
        axis: that is split; None for `whole`.
    """

    kind: str
    pattern: str
    axis: int | None


# The first that matches wins. Splitting the inner axes alone leaves each half of a block with one
# sum over the devices, as T5X's standard rules do (`heads`, `mlp` and `vocab` over `model`).
RULES = (
    Rule("heads", r"attention/[qkv]/kernel$", 1),
    Rule("heads", r"attention/[qkv]/bias$", 0),
    Rule("heads", r"attention/o/kernel$", 0),
    Rule("heads", r"relative_bias(_\d+)?/embeddings$", 1),
    Rule("mlp", r"mlp/wi(_\d)?/kernel$", 1),
    Rule("mlp", r"mlp/wi(_\d)?/bias$", 0),
    Rule("mlp", r"mlp/wo/kernel$", 0),
    Rule("experts", r"experts/w[io]/kernel$", 0),
    Rule("vocabulary", r"(token_embedding|words)/embeddings$", 0),
    Rule("vocabulary", r"logits_dense/kernel$", 1),
    Rule("whole", r"/(gamma|beta|scale|moving_mean|moving_variance)$", None),
    Rule("whole", r"(attention/o|mlp/wo)/bias$", None),
    Rule("whole", r"patches/projection/(kernel|bias)$", None),
    Rule("whole", r"positions/\w+$", None),
    Rule("whole", r"(^|/|_)projection/(kernel|bias)$", None),
    Rule("whole", r"(aggregate|class_token|probe)(/\w+)?$", None),
    Rule("whole", r"router/kernel$", None),
    Rule("whole", r"^(head|spaces|temperatures)/", None),
    Rule("whole", r"^(visual|text|map_\w+)/", None),
    Rule("whole", r"(classifier|vision/head|vision/pre_logits)/(kernel|bias)$", None),
)

# What an axis that is split can count.
SPLIT_KINDS = frozenset(rule.kind for rule in RULES if rule.axis is not None)


def rule_of(path: str) -> Rule:
    """The rule for a weight. Raises UserError where there is none."""
    for rule in RULES:
        if re.search(rule.pattern, path):
            return rule
    raise UserError(
        f"no rule says how to split the weight {path}; add one to trainers/planning/sharding.py"
    )


def split_axis(path: str, shape: tuple[int, ...], num_parts: int) -> int | None:
    """The axis of a weight that is split into so many parts; None: every device has all of it.

    Raises:
        UserError: no rule, or an axis that does not divide.
    """
    rule = rule_of(path)
    if rule.axis is None:
        return None
    if shape[rule.axis] % num_parts:
        raise UserError(
            f"the weight {path} has {shape[rule.axis]} entries on axis {rule.axis} "
            f"({rule.kind}), which model_parallel={num_parts} does not divide; use a divisor"
        )
    return rule.axis


def check_heads(model: Any, num_parts: int, field: str = "task.model") -> None:
    """Raises UserError where the attention heads of a part of a resolved model config, or its
    experts, cannot be dealt out evenly."""
    if not dataclasses.is_dataclass(model):
        return
    for one in dataclasses.fields(model):
        value = getattr(model, one.name)
        if one.name == "num_heads" and value and value % num_parts:
            raise UserError(
                f"{field}.num_heads is {value}, which model_parallel={num_parts} does not "
                "divide; a head cannot be split"
            )
        check_heads(value, num_parts, f"{field}.{one.name}")
