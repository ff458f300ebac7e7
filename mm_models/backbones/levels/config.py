"""What a backbone that gives maps of several levels is made of."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.backbones.levels import level_shapes
from mm_models.backbones.levels.level_shapes import Shape
from mm_models.errors import UserError

KINDS = ("small", "vgg16", "nasnet_large")
NORMS = ("group", "none")
# Pixels along a side of the images, where the config does not say.
_SIDES = {"small": 64, "vgg16": 299, "nasnet_large": 299}
_SMALL = {"widths": [32, 64, 128], "blocks_per_stage": [1, 2, 2], "norm": "group"}
# Channels that the normalisation of `small` takes together.
GROUP_CHANNELS = 8
# Halfway through the last two sizes and at their ends.
_LEVELS = {
    "vgg16": ["block4_conv1", "block4_conv3", "block5_conv1", "block5_conv3"],
    "nasnet_large": ["normal_concat_9", "normal_concat_12", "normal_concat_15", "normal_concat_18"],
}
_LEAST_SIDE = 32


@dataclasses.dataclass
class LevelsConfig:
    """A convolutional network, several of whose layers are its levels.

    Attributes:
        kind: `small` (this project's, to be trained from nothing), `vgg16` or `nasnet_large`
            (Keras' networks; the second stands for PNASNet-5-Large, which Keras does not have).
        levels: names of the maps, in the order in which they are given; empty: two of each of the
            last two sizes. Of `small` they are `stage<i>_block<j>`, counted from 1, where maps of
            stage i have 1 / 2^i of the pixels along a side; of the others Keras' names of
            convolutions or cells, such as `block4_conv1` and `normal_concat_9`.
        height, width: pixels of the images; null: 64 of `small`, 299 of the others.
        weights: file of weights that Keras wrote for a network of this kind (`.h5`, with or without
            classifier); empty: random ones.
        trainable: whether anything in it is trained; if not, no gradient enters it either.
        widths: channels of each stage of `small`; null: 32, 64 and 128.
        blocks_per_stage: of `small`; null: 1, 2 and 2.
        norm: of `small`: `group` (eight channels, of one image, together) or `none`; null: `group`.
    """

    kind: str = "small"
    levels: list[str] = dataclasses.field(default_factory=list)
    height: int | None = None
    width: int | None = None
    weights: str = config_tools.travelling_file(
        "give a file that Keras wrote for a network of this kind, or leave it empty for random "
        "weights"
    )
    trainable: bool = False
    widths: list[int] | None = None
    blocks_per_stage: list[int] | None = None
    norm: str | None = None


def all_shapes(config: LevelsConfig, height: int, width: int) -> dict[str, Shape]:
    """Every level that the network (of a resolved config) has, with its map's rows, columns and
    channels in images of this size."""
    if config.kind == "small":
        return level_shapes.small_shapes(height, width, config.widths, config.blocks_per_stage)
    if config.kind == "vgg16":
        return level_shapes.vgg16_shapes(height, width)
    return level_shapes.nasnet_large_shapes(height, width)


def shapes_of(
    config: LevelsConfig, height: int | None = None, width: int | None = None
) -> dict[str, Shape]:
    """Rows, columns and channels of the levels' maps, in the config's order.

    Args:
        config: resolved or not.
        height, width: pixels of the images; null: those of the config.
    """
    config = resolve(config)
    known = all_shapes(config, height or config.height, width or config.width)
    return {name: known[name] for name in config.levels}


def resolve(config: LevelsConfig) -> LevelsConfig:
    """A checked copy in which every null and the levels have their values.

    Raises:
        UserError: an unknown name, or values that do not fit together.
    """
    checks.check_choice(config.kind, KINDS, "kind")
    side = _SIDES[config.kind]
    config = config_tools.fill(config, {"height": side, "width": side})
    for field in ("height", "width"):
        least = _LEAST_SIDE if config.kind in _LEVELS else 1
        checks.check_at_least(getattr(config, field), least, field)
    config = _with_stages(config)
    known = all_shapes(config, config.height, config.width)
    names = config.levels or _LEVELS.get(config.kind) or _last_blocks(config)
    for name in names:
        if name not in known:
            raise UserError(
                f"levels has {name!r}, which is no level of kind {config.kind!r}; "
                f"{checks.nearest(name, known)}"
            )
    if len(set(names)) < len(names):
        raise UserError(f"levels is {list(names)}; name every level once")
    return dataclasses.replace(config, levels=list(names))


def _with_stages(config: LevelsConfig) -> LevelsConfig:
    if config.kind != "small":
        for field in _SMALL:
            if getattr(config, field) is not None:
                raise UserError(
                    f"{field} is {getattr(config, field)}, but kind {config.kind!r} has its own; "
                    "leave it null"
                )
        return config
    config = config_tools.fill(config, _SMALL)
    checks.check_choice(config.norm, NORMS, "norm")
    stages = len(config.widths)
    if not stages:
        raise UserError("widths is empty; give the channels of each stage")
    checks.check_lengths(config.widths, stages, "widths")
    checks.check_lengths(config.blocks_per_stage, stages, "blocks_per_stage")
    for channels in config.widths if config.norm == "group" else ():
        checks.check_divides(channels, GROUP_CHANNELS, "widths", "the group's number of channels")
    if config.weights:
        raise UserError(
            f"weights is {config.weights!r}, but Keras has no network of kind 'small'; start from "
            "a run of this project with `initialize`"
        )
    return config


def _last_blocks(config: LevelsConfig) -> list[str]:
    """The last two blocks of each of the last two stages of `small`."""
    stages = range(max(len(config.blocks_per_stage) - 1, 1), len(config.blocks_per_stage) + 1)
    if len(stages) < 2 or min(config.blocks_per_stage[-2:]) < 2:
        raise UserError(
            f"blocks_per_stage is {config.blocks_per_stage}, where the last two stages do not have "
            "two blocks each, from which levels are taken; name the levels, or add blocks"
        )
    return [
        f"stage{stage}_block{config.blocks_per_stage[stage - 1] - back}"
        for stage in stages
        for back in (1, 0)
    ]


def as_resolved(config: LevelsConfig | dict[str, Any]) -> LevelsConfig:
    """`resolve` of a config or of its `dataclasses.asdict`."""
    return resolve(config_tools.as_config(config, LevelsConfig))
