"""Which tokens compete with each other, and how many of them an expert takes."""

import math

from mm_models.errors import UserError


def count_groups(num_tokens: int, group_size: int) -> int:
    """The fewest equal groups of at most `group_size` consecutive tokens."""
    fewest = -(-num_tokens // group_size)
    return next(count for count in range(fewest, num_tokens + 1) if num_tokens % count == 0)


def checked_groups(num_tokens: int, group_size: int, num_experts: int) -> int:
    """`count_groups`, refusing a cut into groups that are smaller than the number of experts.

    With `min_capacity` of one, every expert takes a token of every group, so that very small groups
    cost many times what their tokens are worth.

    Raises:
        UserError: the number of tokens has no better divisor.
    """
    count = count_groups(num_tokens, group_size)
    if count > 1 and num_tokens // count < min(num_experts, group_size):
        raise UserError(
            f"{num_tokens} tokens cannot be cut into equal groups of at most experts.group_size = "
            f"{group_size} tokens that hold one token per expert ({num_experts}); change the batch "
            "size, the number of tokens, or experts.group_size"
        )
    return count


def expert_capacity(
    num_tokens: int, num_experts: int, factor: float, rounding: str, minimum: int
) -> int:
    """Tokens that each expert takes from a group.

    Args:
        num_tokens: in the group; for `tokens_choose`, times the experts a token asks for.
        num_experts: who share them.
        factor: 1 takes as many as there are.
        rounding: `half_even` rounds to the nearest, halves to even; `ceil_multiple_of_4` rounds up,
            then up to a multiple of four.
        minimum: least result.

    Source: the released IMP code; V-MoE's released code for the second rounding.
    """
    share = factor * num_tokens / num_experts
    if rounding == "half_even":
        return max(round(share), minimum)
    return max(4 * math.ceil(math.ceil(share) / 4), minimum)
