"""What an R3 model is made of. Fields left null take what size, variant and preset say."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.backbones import t5_config
from mm_models.r3 import language_config
from mm_models.r3.language_config import RoleT5Config

# The language model by its fields, and the width of the features.
SIZES: dict[str, tuple[dict[str, Any], int]] = {
    "base": ({"size": "t5_base", "num_encoder_layers": 1}, 2304),
    "digits": (
        {
            "size": "digits",
            "num_encoder_layers": 1,
            "num_decoder_layers": 3,
            "feed_forward": "relu",
            "tie_logits": True,
        },
        128,
    ),
    "debug": (
        {"size": "debug", "num_encoder_layers": 1, "feed_forward": "relu", "tie_logits": True},
        8,
    ),
}
PRESETS = {
    "fixed": {"encoder_places": "time", "size_ids": "cells"},
    "paper": {"encoder_places": "flat", "size_ids": "cells"},
    "reference_code": {"encoder_places": "flat", "size_ids": "released"},
}
_LANGUAGE_PRESETS = {
    "fixed": {"masked_pairs": True, "cross_bias": False},
    "paper": {"masked_pairs": True, "cross_bias": True},
    "reference_code": {"masked_pairs": False, "cross_bias": True},
}
VARIANTS = ("t5", "t6", "r3t6")


@dataclasses.dataclass
class R3Config:
    """An R3 model: features of a video in, text out.

    Attributes:
        size: `base` (T5-base with one encoder layer), `digits` or `debug`.
        variant: what roles the language model has where it names none: `t5` none, `t6` those that
            tokens make of themselves, `r3t6` codes in encoder and decoder, and in cross-attention
            codes in the first two thirds of the layers and roles of tokens themselves above.
        preset: `fixed`, `paper` or `reference_code`: what the fields below that are null take where
            these differ, and those of the language model.
        feature_dim: width of the features.
        num_steps: most steps of a video.
        rows, columns: regions of a step; 0 of both for one vector a step.
        encoder_places: what the encoder's relative bias counts: steps (`time`), or places in the
            sequence of all regions (`flat`).
        size_ids: how large a region is, for roles: in `cells` of the grid, or as the `released`
            code has it, which gives every region of a grid the same id.
        placed_tokens: add where and when a region is to its token too, for every variant alike. In
            the paper only roles are told, so that features which do not say it themselves leave the
            rest of the model without.
        language: encoder and decoder; `size: ""` takes that of the model.

    Source: R3; its released code for `reference_code`, whose faults `fixed` mends.
    """

    size: str = "base"
    variant: str = "r3t6"
    preset: str = "fixed"
    feature_dim: int | None = None
    num_steps: int = 50
    rows: int = 3
    columns: int = 3
    encoder_places: str | None = None
    size_ids: str | None = None
    placed_tokens: bool = False
    language: RoleT5Config = dataclasses.field(default_factory=lambda: RoleT5Config(size=""))

    @property
    def regions(self) -> int:
        """Tokens of a step."""
        return max(self.rows, 1) * max(self.columns, 1)

    @property
    def num_tokens(self) -> int:
        """Most tokens of a video."""
        return self.num_steps * self.regions


def resolve(config: R3Config) -> R3Config:
    """A checked copy in which every null has its value.

    Raises:
        UserError: an unknown name, or values that do not fit together.
    """
    sized, feature_dim = checks.choose(SIZES, config.size, "size")
    checks.check_choice(config.variant, VARIANTS, "variant")
    preset = checks.choose(PRESETS, config.preset, "preset")
    config = config_tools.fill(config, {**preset, "feature_dim": feature_dim})
    checks.check_fields(config, 1, ("feature_dim", "num_steps"), "")
    least = 0 if config.rows == config.columns == 0 else 1
    checks.check_fields(config, least, ("rows", "columns"), "")
    checks.check_choice(config.encoder_places, ("time", "flat"), "encoder_places")
    checks.check_choice(config.size_ids, ("cells", "released"), "size_ids")
    language = config.language
    if not language.size:
        language = config_tools.fill(dataclasses.replace(language, size=sized["size"]), sized)
    language = config_tools.fill(language, _LANGUAGE_PRESETS[config.preset])
    with checks.within("language", language):
        resolved = language_config.resolve(_with_roles(language, config.variant))
    return dataclasses.replace(config, language=resolved)


def _with_roles(language: RoleT5Config, variant: str) -> RoleT5Config:
    """The language model with the roles of the variant where it names none."""
    num_layers = language.num_decoder_layers
    if num_layers is None:
        num_layers = checks.choose(t5_config.SIZES, language.size, "size")["num_decoder_layers"]
    coded = round(num_layers * 2 / 3)
    roles = {
        "t5": (["none"], ["none"], ["none"]),
        "t6": (["self_role"], ["self_role"], ["self_role"]),
        "r3t6": (
            ["attn_relative_role"],
            ["attn_relative_role"],
            ["attn_relative_role"] * coded + ["self_role"] * (num_layers - coded),
        ),
    }[variant]
    names = ("encoder_roles", "decoder_roles", "cross_roles")
    return config_tools.fill(language, dict(zip(names, roles, strict=True)))


def as_resolved(config: R3Config | dict[str, Any]) -> R3Config:
    """`resolve` of a config or of its `dataclasses.asdict`."""
    return resolve(config_tools.as_config(config, R3Config))
