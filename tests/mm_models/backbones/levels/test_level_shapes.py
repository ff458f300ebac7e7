"""Shapes of maps without running: the published networks', and which size maps share."""

import pytest

from mm_models.backbones.levels.config import LevelsConfig, resolve, shapes_of
from mm_models.backbones.levels.level_shapes import common_size
from mm_models.errors import UserError

VGG16 = {
    299: {"block4_conv1": 37, "block4_conv3": 37, "block5_conv1": 18, "block5_conv3": 18},
    224: {"block4_conv1": 28, "block4_conv3": 28, "block5_conv1": 14, "block5_conv3": 14},
}
NASNET = {
    299: ([19, 19, 10, 10], [2016, 2016, 4032, 4032]),
    331: ([21, 21, 11, 11], [2016, 2016, 4032, 4032]),
    224: ([14, 14, 7, 7], [2016, 2016, 4032, 4032]),
}


@pytest.mark.parametrize("side", VGG16)
def test_vgg16(side):
    expected = {name: (rows, rows, 512) for name, rows in VGG16[side].items()}
    assert shapes_of(LevelsConfig(kind="vgg16"), side, side) == expected


@pytest.mark.parametrize("side", NASNET)
def test_nasnet_large(side):
    shapes = shapes_of(LevelsConfig(kind="nasnet_large", height=side, width=side))
    names = ["normal_concat_9", "normal_concat_12", "normal_concat_15", "normal_concat_18"]
    rows, channels = NASNET[side]
    assert shapes == dict(zip(names, zip(rows, rows, channels, strict=True), strict=True))


def test_small_has_two_sizes_of_two_levels():
    shapes = shapes_of(LevelsConfig())
    assert list(shapes.values()) == [(16, 16, 64)] * 2 + [(8, 8, 128)] * 2
    # Every stage rounds up.
    config = LevelsConfig(widths=[8, 16], blocks_per_stage=[3, 2], height=9, width=21)
    assert shapes_of(config) == {
        "stage1_block2": (5, 11, 8),
        "stage1_block3": (5, 11, 8),
        "stage2_block1": (3, 6, 16),
        "stage2_block2": (3, 6, 16),
    }


def test_levels_come_in_the_order_that_is_asked_for():
    config = LevelsConfig(
        kind="vgg16", levels=["block5_conv1", "block4_conv1"], height=64, width=96
    )
    assert list(shapes_of(config).items()) == [
        ("block5_conv1", (4, 6, 512)),
        ("block4_conv1", (8, 12, 512)),
    ]


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        ("vgg16", "smallest", (18, 18)),
        ("vgg16", "largest", (37, 37)),
        ("vgg16", "19x20", (19, 20)),
        ("nasnet_large", "largest", (19, 19)),
    ],
)
def test_common_size(kind, size, expected):
    assert common_size(shapes_of(LevelsConfig(kind=kind)), size) == expected


@pytest.mark.parametrize("size", ["small", "0x3", "3", "3x", "-1x2"])
def test_no_common_size(size):
    with pytest.raises(UserError, match="must be smallest, largest, or rows and columns"):
        common_size({"one": (3, 3, 1)}, size)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "vgg"}, "kind is 'vgg'; it must be one of small, vgg16, nasnet_large"),
        ({"levels": ["stage4_block1"]}, "no level of kind 'small'; did you mean stage3_block1"),
        ({"levels": ["stage1_block1"] * 2}, "name every level once"),
        ({"kind": "vgg16", "widths": [8]}, r"widths is \[8\], but kind 'vgg16' has its own"),
        ({"kind": "nasnet_large", "levels": ["reduction_concat_6"]}, "no level of kind"),
        ({"kind": "vgg16", "height": 31}, "height is 31; it must be at least 32"),
        ({"width": 0}, "width is 0"),
        ({"widths": [12, 8, 8]}, "widths is 12, which .* = 8 does not divide"),
        ({"widths": []}, "widths is empty"),
        ({"widths": [8], "blocks_per_stage": [1, 1]}, "blocks_per_stage is .* must be 1 numbers"),
        ({"blocks_per_stage": [2, 2, 1]}, "two blocks each, from which levels are taken"),
        ({"norm": "batch"}, "norm is 'batch'"),
        ({"weights": "small.weights.h5"}, "Keras has no network of kind 'small'"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(UserError, match=words):
        resolve(LevelsConfig(**fields))
