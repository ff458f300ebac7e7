"""Groups and capacities, by hand."""

import pytest

from mm_models.errors import UserError
from mm_models.layers.mixture_of_experts import groups


@pytest.mark.parametrize(
    ("num_tokens", "group_size", "expected"),
    [(16384, 2048, 8), (2048, 2048, 1), (2049, 2048, 3), (17, 2048, 1), (12, 5, 3), (7, 5, 7)],
)
def test_the_fewest_equal_groups_within_the_limit(num_tokens, group_size, expected):
    assert groups.count_groups(num_tokens, group_size) == expected


def test_a_cut_into_crumbs_is_refused():
    assert groups.checked_groups(4096, 2048, 16) == 2
    assert groups.checked_groups(6, 2, 4) == 3  # as small as was asked for
    with pytest.raises(UserError, match=r"2053 tokens cannot .* experts.group_size = 2048"):
        groups.checked_groups(2053, 2048, 16)


def test_capacity():
    def capacity(tokens, experts, factor, rounding="half_even", minimum=1):
        return groups.expert_capacity(tokens, experts, factor, rounding, minimum)

    assert capacity(6, 3, 1.25) == 2  # 2.5
    assert capacity(6, 3, 1.25, "ceil_multiple_of_4") == 4
    assert capacity(7, 2, 1.0) == 4  # 3.5
    assert capacity(16, 4, 1.0, "ceil_multiple_of_4") == 4
    assert capacity(17, 4, 1.0, "ceil_multiple_of_4") == 8
    assert capacity(4, 16, 1.0) == 1
    assert capacity(4, 16, 1.0, minimum=3) == 3
