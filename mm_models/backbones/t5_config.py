"""What a T5, mT5 or umT5 model is made of. Fields left null take the value of the named size."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.errors import UserError

SHAPE_FIELDS = (
    "width",
    "num_encoder_layers",
    "num_decoder_layers",
    "num_heads",
    "head_dim",
    "mlp_dim",
)

# width, encoder layers, decoder layers, heads, width of a head, width inside the feed-forward half.
_SHAPES_1_1 = {
    "small": (512, 8, 8, 6, 64, 1024),
    "base": (768, 12, 12, 12, 64, 2048),
    "large": (1024, 24, 24, 16, 64, 2816),
    "xl": (2048, 24, 24, 32, 64, 5120),
    "xxl": (4096, 24, 24, 64, 64, 10240),
}
_SHAPES_1_0 = {
    "small": (512, 6, 6, 8, 64, 2048),
    "base": (768, 12, 12, 12, 64, 3072),
    "large": (1024, 24, 24, 16, 64, 4096),
    "3b": (1024, 24, 24, 32, 128, 16384),
    "11b": (1024, 24, 24, 128, 128, 65536),
}
# The prefix of a size, the shapes of its sizes, and what all of them share. Vocabularies are
# rounded up to the rows that the published tables have.
_FAMILIES = {
    "mt5": (_SHAPES_1_1, {"vocabulary_size": 250_112}),
    "umt5": (_SHAPES_1_1, {"vocabulary_size": 256_384, "per_layer_bias": True}),
    "t5_1_1": (_SHAPES_1_1, {"vocabulary_size": 32_128}),
    "t5": (_SHAPES_1_0, {"vocabulary_size": 32_128, "tie_logits": True, "feed_forward": "relu"}),
}
_OURS = {
    "digits": ((128, 4, 4, 4, 32, 256), {"vocabulary_size": 512}),
    "debug": ((16, 2, 2, 2, 8, 24), {"vocabulary_size": 64}),
}
_DEFAULTS = {"feed_forward": "gated_gelu", "tie_logits": False, "per_layer_bias": False}

# Feed-forward half by name: its activation, and whether a second map multiplies it.
FEED_FORWARDS = {"gated_gelu": ("gelu_tanh", True), "relu": ("relu", False)}


def _sizes() -> dict[str, dict[str, Any]]:
    table = dict(_OURS)
    for family, (shapes, shared) in _FAMILIES.items():
        table.update({f"{family}_{name}": (shape, shared) for name, shape in shapes.items()})
    return {
        name: {**_DEFAULTS, **dict(zip(SHAPE_FIELDS, shape, strict=True)), **shared}
        for name, (shape, shared) in table.items()
    }


SIZES = _sizes()


@dataclasses.dataclass
class T5Config:
    """An encoder-decoder of the T5 family.

    Attributes:
        size: `mt5_small` ... `mt5_xxl`, the same of `umt5` and of `t5_1_1`, `t5_small` ... `t5_11b`
            of the first T5, `digits` or `debug`.
        width: of the tokens; null, here and below, takes the size's value.
        num_encoder_layers, num_decoder_layers: blocks of either stack.
        num_heads, head_dim: attention heads and the width of each.
        mlp_dim: width inside the feed-forward half.
        vocabulary_size: rows of the token table, and logits.
        feed_forward: `gated_gelu`, or `relu` without a gate, as in the first T5.
        tie_logits: compute logits from the token table (divided by the root of `width`) in the
            place of a kernel of their own.
        per_layer_bias: a table of relative biases in every layer, as umT5 has it, in the place of
            one for each stack.
        num_buckets, max_distance: of the relative biases.
        dropout_rate: on embeddings, attention weights, hidden values, branches and outputs.
        rematerialize: compute the blocks again in the backward pass instead of keeping what is
            inside them.
    """

    resume = config_tools.ResumeRules(allowed=("rematerialize",))

    size: str = "mt5_small"
    width: int | None = None
    num_encoder_layers: int | None = None
    num_decoder_layers: int | None = None
    num_heads: int | None = None
    head_dim: int | None = None
    mlp_dim: int | None = None
    vocabulary_size: int | None = None
    feed_forward: str | None = None
    tie_logits: bool | None = None
    per_layer_bias: bool | None = None
    num_buckets: int = 32
    max_distance: int = 128
    dropout_rate: float = 0.1
    rematerialize: bool = False


def resolve(config: T5Config) -> T5Config:
    """A checked copy in which every null has its value.

    Raises:
        UserError: an unknown name, or a value that makes no sense.
    """
    config = config_tools.fill(config, checks.choose(SIZES, config.size, "size"))
    for field in (*SHAPE_FIELDS, "vocabulary_size"):
        checks.check_positive(getattr(config, field), field)
    checks.check_choice(config.feed_forward, FEED_FORWARDS, "feed_forward")
    checks.check_rate(config.dropout_rate, "dropout_rate")
    if config.num_buckets < 4 or config.num_buckets % 4:
        raise UserError(f"num_buckets is {config.num_buckets}; it must be a multiple of 4")
    # The decoder looks one way only, so that half of its buckets count single positions.
    if config.max_distance <= config.num_buckets // 2:
        raise UserError(
            f"max_distance is {config.max_distance}; it must be above half of "
            f"num_buckets = {config.num_buckets}"
        )
    return config


def as_resolved(config: T5Config | dict[str, Any], kind: type[T5Config] = T5Config) -> T5Config:
    """`resolve` of a config or of its `dataclasses.asdict`, which is one of a `kind`."""
    return resolve(config_tools.as_config(config, kind))
