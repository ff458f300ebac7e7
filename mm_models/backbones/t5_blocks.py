"""What the blocks of the T5 family are made of."""

from mm_models.backbones.t5_config import FEED_FORWARDS, T5Config
from mm_models.layers.transformer.block_options import BlockOptions


def block_options(config: T5Config, *, cross_attention: bool) -> BlockOptions:
    """Of a resolved config; the decoder's attend to a memory."""
    activation, gated = FEED_FORWARDS[config.feed_forward]
    return BlockOptions(
        dim=config.width,
        mlp_dim=config.mlp_dim,
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        use_bias=False,
        scale_scores=False,
        attention_norm="rms",
        mlp_norm="rms",
        activation=activation,
        attention_dropout_rate=config.dropout_rate,
        dropout_rate=config.dropout_rate,
        gated=gated,
        cross_attention=cross_attention,
        initialization="t5x",
    )
