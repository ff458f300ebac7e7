"""What a PaLI model is made of: a vision transformer and an encoder-decoder of text."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.backbones import t5_config, vit_config
from mm_models.backbones.t5_config import T5Config
from mm_models.backbones.vit_config import VitConfig
from mm_models.errors import UserError

# The vision transformer and the language model.
SIZES = {
    "pali_3b": ("giant", "mt5_large"),
    "pali_15b": ("giant", "mt5_xxl"),
    "pali_17b": ("e", "mt5_xxl"),
    "digits": ("digits", "digits"),
    "debug": ("debug", "debug"),
}
POSITION_BIASES = ("joint", "text_only")


@dataclasses.dataclass
class PaliConfig:
    """A PaLI model.

    Attributes:
        size: `pali_3b`, `pali_15b`, `pali_17b`, `digits` or `debug`; it names the sizes of the two
            parts.
        vision: the vision transformer; `size: ""` takes that of the model.
        language: the encoder-decoder; `size: ""` takes that of the model.
        position_bias: relative positions in the encoder: `joint` counts visual tokens and text as
            one sequence, visual ones first; `text_only` adds a bias between tokens of the text
            alone. The weights are the same.
        projection_bias: the map from visual tokens to the width of the text has a bias.
    """

    size: str = "pali_3b"
    vision: VitConfig = dataclasses.field(default_factory=lambda: VitConfig(size=""))
    language: T5Config = dataclasses.field(default_factory=lambda: T5Config(size=""))
    position_bias: str = "joint"
    projection_bias: bool = True


def resolve(config: PaliConfig) -> PaliConfig:
    """A checked copy in which every null has its value.

    Raises:
        UserError: an unknown name, or values that do not fit together.
    """
    vision, language = checks.choose(SIZES, config.size, "size")
    checks.check_choice(config.position_bias, POSITION_BIASES, "position_bias")
    with checks.within("vision", config.vision):
        sized_vision = vit_config.resolve(_sized(config.vision, vision))
    with checks.within("language", config.language):
        sized_language = t5_config.resolve(_sized(config.language, language))
    config = dataclasses.replace(config, vision=sized_vision, language=sized_language)
    if config.vision.pool != "none":
        raise UserError(
            f"vision.pool is {config.vision.pool!r}, but PaLI reads all visual tokens; set it to "
            "none, and leave the classifier out"
        )
    return config


def _sized(part: VitConfig | T5Config, size: str) -> Any:
    return part if part.size else dataclasses.replace(part, size=size)


def as_resolved(config: PaliConfig | dict[str, Any]) -> PaliConfig:
    """`resolve` of a config or of its `dataclasses.asdict`."""
    return resolve(config_tools.as_config(config, PaliConfig))
