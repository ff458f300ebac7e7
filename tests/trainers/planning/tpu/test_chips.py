"""Names of slices."""

import pytest

from mm_models.errors import UserError
from trainers.planning.tpu.chips import parse_target
from trainers.planning.tpu.placement import Placement, placements


@pytest.mark.parametrize(
    ("name", "devices"), [("v5e:4x4", 16), ("v6e:2x2", 4), ("v5p:2x2x1", 4), ("v4:2x2x1", 8)]
)
def test_devices_of_a_slice(name, devices):
    target = parse_target(name)
    assert (target.topology, target.num_devices) == (name, devices)


@pytest.mark.parametrize("name", ["v5e", "v5e:4", "v5e:2x2x2", "v5p:2x2", "h100:8x8", "v5e:0x4"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UserError, match="give a chip and its topology"):
        parse_target(name)


def test_devices_are_shared_out():
    first, second = placements("v5e:2x2,v5e:4x4", 2)
    assert (first.num_replicas, second.num_replicas) == (2, 8)
    with pytest.raises(UserError, match="--model_parallel=3 does not divide"):
        assert Placement(first.target, 3).num_replicas
