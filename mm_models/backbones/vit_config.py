"""What a vision transformer is made of. Fields left null take the value of the named size."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.errors import UserError

SHAPE_FIELDS = ("width", "depth", "mlp_dim", "num_heads", "patch_size", "image_size")
# `giant` and `e` are ViT-G/14 and ViT-e/14. The numbers are big_vision's, which leaves patch and
# image size to its experiments: here stand the usual ones.
SIZES = {
    "tiny": (192, 12, 768, 3, 16, 224),
    "small": (384, 12, 1536, 6, 16, 224),
    "medium": (512, 12, 2048, 8, 16, 224),
    "base": (768, 12, 3072, 12, 16, 224),
    "large": (1024, 24, 4096, 16, 16, 224),
    "so400m": (1152, 27, 4304, 16, 14, 224),
    "huge": (1280, 32, 5120, 16, 14, 224),
    "g": (1408, 40, 6144, 16, 14, 224),
    "giant": (1664, 48, 8192, 16, 14, 224),
    "e": (1792, 56, 15360, 16, 14, 224),
    "digits": (128, 4, 512, 4, 4, 32),
    "debug": (16, 2, 32, 2, 8, 32),
}
# How position tables are resampled, see `vit_positions`.
METHODS = ("corner", "bicubic")
POOLS = ("none", "cls", "gap", "map")
# Name of the GELU to the activation of `mm_models.layers.transformer.mlp`.
GELUS = {"tanh": "gelu_tanh", "erf": "gelu"}


@dataclasses.dataclass
class VitConfig:
    """A vision transformer.

    Attributes:
        size: `tiny`, `small`, `medium`, `base`, `large`, `so400m`, `huge`, `g`, `giant` (ViT-G/14),
            `e` (ViT-e/14), `digits` or `debug`.
        width: of the tokens; null, here and below, takes the size's value.
        depth: number of blocks.
        mlp_dim: width inside the feed-forward halves.
        num_heads: attention heads.
        patch_size: pixels along a side of a patch; what is left at the right and below is not seen.
        image_size: pixels along a side of the images that the position table has a row for each
            patch of; other images resample the table.
        resample: how: `corner` (linear, corners stay, as big_vision) or `bicubic` (half-pixel
            centres, as transformers).
        pool: what stands for an image: `none` (no pooling; the tokens are what counts), `cls` (a
            learned token in front), `gap` (their mean) or `map` (a probe that attends to them).
        class_position: the learned token has a row of positions of its own, as in Hugging Face's
            checkpoints; big_vision has none. For `cls`.
        representation_dim: width of a Dense with tanh on the pooled row; 0: none.
        num_classes: of a linear classifier behind it; 0: none.
        head_bias: where the classifier's biases start; -10 makes each of many classes improbable.
        head_zero_init: start the classifier's kernel at 0.
        dropout_rate: on embeddings, hidden values and both branches of a block.
        gelu: `tanh` (approximate, big_vision) or `erf` (exact).
        epsilon: of all normalisations.
        rematerialize: compute the blocks again in the backward pass instead of keeping what is
            inside them.
    """

    resume = config_tools.ResumeRules(allowed=("rematerialize",))

    size: str = "base"
    width: int | None = None
    depth: int | None = None
    mlp_dim: int | None = None
    num_heads: int | None = None
    patch_size: int | None = None
    image_size: int | None = None
    resample: str = "corner"
    pool: str = "none"
    class_position: bool = False
    representation_dim: int = 0
    num_classes: int = 0
    head_bias: float = 0.0
    head_zero_init: bool = True
    dropout_rate: float = 0.0
    gelu: str = "tanh"
    epsilon: float = 1e-6
    rematerialize: bool = False

    @property
    def head_dim(self) -> int:
        """Width of an attention head (of a resolved config)."""
        return self.width // self.num_heads

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the position table (of a resolved config)."""
        return grid_of(self, self.image_size, self.image_size)


def grid_of(config: VitConfig, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of whole patches in an image. Raises UserError when it has none."""
    if min(height, width) < config.patch_size:
        raise UserError(
            f"an image of {height} x {width} pixels is smaller than a patch of patch_size = "
            f"{config.patch_size}; take larger images or smaller patches"
        )
    return height // config.patch_size, width // config.patch_size


def num_tokens(config: VitConfig, image_size: int | None = None) -> int:
    """Tokens of a square image (null: of `image_size`), the learned one of `cls` included."""
    config = resolve(config)
    side = image_size or config.image_size
    rows, columns = grid_of(config, side, side)
    return rows * columns + (config.pool == "cls")


def resolve(config: VitConfig) -> VitConfig:
    """A checked copy in which every null has its value.

    Raises:
        UserError: an unknown name, or values that do not fit together.
    """
    shape = checks.choose(SIZES, config.size, "size")
    config = config_tools.fill(config, dict(zip(SHAPE_FIELDS, shape, strict=True)))
    for field in (*SHAPE_FIELDS, "epsilon"):
        checks.check_positive(getattr(config, field), field)
    checks.check_divides(config.width, config.num_heads, "width", "num_heads")
    checks.check_choice(config.pool, POOLS, "pool")
    checks.check_choice(config.resample, METHODS, "resample")
    checks.check_choice(config.gelu, GELUS, "gelu")
    checks.check_rate(config.dropout_rate, "dropout_rate")
    grid_of(config, config.image_size, config.image_size)
    _check_head(config)
    return config


def _check_head(config: VitConfig) -> None:
    for field in ("representation_dim", "num_classes"):
        value = getattr(config, field)
        if value < 0:
            raise UserError(f"{field} is {value}; it must be 0 for none, or above")
        if value and config.pool == "none":
            raise UserError(
                f"{field} is {value}, but pool is 'none', so that there is no row for it; set pool "
                "to cls, gap or map"
            )
    if config.class_position and config.pool != "cls":
        raise UserError(
            f"class_position is true, but pool is {config.pool!r}, which has no learned token; set "
            "pool to cls or class_position to false"
        )


def as_resolved(config: VitConfig | dict[str, Any]) -> VitConfig:
    """`resolve` of a config or of its `dataclasses.asdict`."""
    return resolve(config_tools.as_config(config, VitConfig))
