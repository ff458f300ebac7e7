"""Making the backbone that a config describes."""

from typing import Any

from mm_models.backbones.levels import config as levels_config
from mm_models.backbones.levels.base import LevelsBackbone
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.backbones.levels.keras_networks import NasnetLargeLevels, Vgg16Levels
from mm_models.backbones.levels.small import SmallLevels

_CLASSES: dict[str, type[LevelsBackbone]] = {
    "small": SmallLevels,
    "vgg16": Vgg16Levels,
    "nasnet_large": NasnetLargeLevels,
}


def build_levels(
    config: LevelsConfig | dict[str, Any], name: str = "visual", **kwargs: Any
) -> LevelsBackbone:
    """A backbone with every weight at its random start.

    Args:
        config: LevelsConfig, or the dict of one.
        name: of the model, with which the paths of its weights begin.
        kwargs: of a Keras layer, such as `dtype`.

    Raises:
        UserError: a config that makes no sense.
    """
    config = levels_config.as_resolved(config)
    return _CLASSES[config.kind](config, name=name, **kwargs)
