"""What a transformer block is made of."""

import dataclasses

from mm_models.layers.roles.role_options import RoleOptions, as_role_options
from mm_models.layers.transformer.normalization import EPSILON


@dataclasses.dataclass(frozen=True)
class BlockOptions:
    """What a block is made of.

    Attributes:
        dim: width of the tokens.
        mlp_dim: width inside the feed-forward half.
        num_heads, head_dim: attention heads and the width of each.
        use_bias: biases in every Dense of the block.
        scale_scores: divide attention scores by the root of `head_dim`.
        qk_norm: normalise queries and keys, see `MultiHeadAttention`.
        attention_norm, mlp_norm: normalisation before each half, see `normalization.make_norm`;
            that before attention to a memory is of the first kind.
        norm_epsilon: of all, and of the last one of a stack.
        activation: see `mlp.ACTIVATIONS`.
        attention_dropout_rate: dropout of attention weights.
        dropout_rate: dropout inside the feed-forward half and on the residual branches.
        gated: multiply what the activation gives by a second map of the input.
        cross_attention: attend to a memory between the two halves.
        initialization: of the kernels, see `initializers.kernel_initializer`.
        role, memory_role: that self-attention and cross-attention bind, see `MultiHeadAttention`.
    """

    dim: int
    mlp_dim: int
    num_heads: int
    head_dim: int
    use_bias: bool = True
    scale_scores: bool = True
    qk_norm: bool = False
    attention_norm: str = "layer"
    mlp_norm: str = "layer"
    norm_epsilon: float = EPSILON
    activation: str = "gelu"
    attention_dropout_rate: float = 0.0
    dropout_rate: float = 0.0
    gated: bool = False
    cross_attention: bool = False
    initialization: str = "glorot"
    role: RoleOptions | None = None
    memory_role: RoleOptions | None = None


def as_block_options(options: BlockOptions | dict) -> BlockOptions:
    """The options themselves, or those that a dict of their fields describes."""
    if isinstance(options, BlockOptions):
        return options
    roles = {name: as_role_options(options.get(name)) for name in ("role", "memory_role")}
    return BlockOptions(**{**options, **roles})
