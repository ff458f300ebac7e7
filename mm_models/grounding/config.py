"""What a grounding model is made of. Fields left null take what size and preset say."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.backbones.levels import config as levels_config
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.errors import UserError

# The backbone by its fields, the width of a word, and the widths of the maps to the common space.
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vgg16": (
        {"kind": "vgg16"},
        {"word_width": 512, "text_widths": [1024, 1024], "visual_widths": [1024, 1024, 1024]},
    ),
    "nasnet_large": (
        {"kind": "nasnet_large"},
        {"word_width": 512, "text_widths": [1024, 1024], "visual_widths": [2048, 2048, 1024]},
    ),
    "digits": (
        {"kind": "small"},
        {"word_width": 64, "text_widths": [64, 64], "visual_widths": [64, 64]},
    ),
    "debug": (
        {"kind": "small"},
        {"word_width": 12, "text_widths": [16], "visual_widths": [16]},
    ),
}
PRESETS = {
    "paper": {
        **{"mapping": "pointwise", "reference_size": "smallest"},
        **{"normalize": "once", "gain": True},
    },
    "reference_code": {
        **{"mapping": "conv3x3", "reference_size": "largest"},
        **{"normalize": "each", "gain": False},
    },
}
MAPPINGS = ("pointwise", "conv3x3")
TEXT_VARIANTS = ("contextual", "recurrent", "plain")


@dataclasses.dataclass
class GroundingConfig:
    """A common space of the words of sentences and the regions of pictures.

    Attributes:
        size: `vgg16` or `nasnet_large` (the paper's PNASNet is not in Keras), `digits` or `debug`.
        preset: `paper`, or `reference_code`, the released package: what the fields below that are
            null take where these differ.
        visual: the backbone and its levels; `kind: ""` takes what the size says.
        mapping: from a level to the common space, `pointwise` convolutions of the widths below, or
            one of 3 x 3 (`conv3x3`) of the last of them.
        visual_widths: of the pointwise convolutions, the last of which is the common space's.
        reference_size: all levels are resized to the `smallest` of them, the `largest`, or to such
            as `18x18`, before they are mapped.
        text: what of the frozen text encoder is used: all its layers, mixed (`contextual`), words
            that an LSTM of the model's own reads, as wide in each direction (`recurrent`), or words
            alone (`plain`).
        word_width: of the text encoder.
        gain: whether mixed layers are multiplied by a number that is learned, as in ELMo.
        text_widths: of the two maps of words and of sentences; the last is the common space's.
        normalize: vectors of text have length 1 behind the last of its maps (`once`) or behind
            `each`.
        leaky_slope: of the activation behind every map, below 0.

    Source: Akbari and others (CVPR 2019), section 3; its released notebooks and package.
    """

    size: str = "vgg16"
    preset: str = "paper"
    visual: LevelsConfig = dataclasses.field(default_factory=lambda: LevelsConfig(kind=""))
    mapping: str | None = None
    visual_widths: list[int] | None = None
    reference_size: str | None = None
    text: str = "contextual"
    word_width: int | None = None
    gain: bool | None = None
    text_widths: list[int] | None = None
    normalize: str | None = None
    leaky_slope: float = 0.25

    @property
    def dim(self) -> int:
        """Of the common space, in a resolved config."""
        return self.text_widths[-1]


def resolve(config: GroundingConfig) -> GroundingConfig:
    """A checked copy in which every null has its value.

    Raises:
        UserError: an unknown name, or values that do not fit together.
    """
    backbone, sized = checks.choose(SIZES, config.size, "size")
    preset = checks.choose(PRESETS, config.preset, "preset")
    config = config_tools.fill(config, {**preset, **sized})
    checks.check_choice(config.mapping, MAPPINGS, "mapping")
    checks.check_choice(config.text, TEXT_VARIANTS, "text")
    checks.check_choice(config.normalize, ("once", "each"), "normalize")
    checks.check_at_least(config.word_width, 1, "word_width")
    checks.check_at_least(config.leaky_slope, 0.0, "leaky_slope")
    for name in ("text_widths", "visual_widths"):
        widths = getattr(config, name)
        checks.check_lengths(widths, max(len(widths), 1), name)
    if config.text_widths[-1] != config.visual_widths[-1]:
        raise UserError(
            f"text_widths ends in {config.text_widths[-1]} and visual_widths in "
            f"{config.visual_widths[-1]}; both are the common space's, so make them equal"
        )
    explicit_size(config.reference_size)
    visual = config.visual
    if not visual.kind:
        visual = dataclasses.replace(visual, **backbone)
    with checks.within("visual", visual):
        visual = levels_config.resolve(visual)
    config = dataclasses.replace(config, visual=visual)
    reference_grid(config)
    return config


def reference_grid(config: GroundingConfig) -> tuple[int, int]:
    """Rows and columns that all levels of a resolved config are resized to.

    Raises:
        UserError: these are more than any level has.
    """
    sizes = [shape[:2] for shape in levels_config.shapes_of(config.visual).values()]
    explicit = explicit_size(config.reference_size)
    if explicit is None:
        choose = min if config.reference_size == "smallest" else max
        return choose(sizes, key=lambda size: size[0] * size[1])
    if all(explicit[0] > rows or explicit[1] > columns for rows, columns in sizes):
        known = ", ".join(f"{rows}x{columns}" for rows, columns in sizes)
        raise UserError(
            f"reference_size is {config.reference_size}, larger than every level ({known}); "
            "choose a smaller one"
        )
    return explicit


def explicit_size(reference_size: str) -> tuple[int, int] | None:
    """Rows and columns that a text such as `18x18` names; None for `smallest` and `largest`.

    Raises:
        UserError: it is none of these.
    """
    if reference_size in ("smallest", "largest"):
        return None
    rows, _, columns = reference_size.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise UserError(
            f"reference_size is {reference_size!r}; it must be smallest, largest, or rows and "
            "columns such as 18x18"
        )
    return int(rows), int(columns)


def as_resolved(config: GroundingConfig | dict[str, Any]) -> GroundingConfig:
    """`resolve` of a config or of its `dataclasses.asdict`."""
    return resolve(config_tools.as_config(config, GroundingConfig))
