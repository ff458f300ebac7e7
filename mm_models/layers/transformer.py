"""Pre-norm transformer blocks and stacks of them."""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.layers import normalization, randomness
from mm_models.layers.attention import MultiHeadAttention
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.mlp import Mlp


@dataclasses.dataclass(frozen=True)
class BlockOptions:
    """What a block is made of.

    Attributes:
        dim: width of the tokens.
        mlp_dim: width inside the feed-forward half.
        num_heads, head_dim: attention heads and the width of each.
        use_bias: biases in every Dense of the block.
        scale_scores: divide attention scores by the root of `head_dim`.
        attention_norm, mlp_norm: normalisation before each half, `layer` or `rms`.
        activation: see `mlp.ACTIVATIONS`.
        attention_dropout_rate: dropout of attention weights.
        dropout_rate: dropout inside the feed-forward half and on both residual branches.
    """

    dim: int
    mlp_dim: int
    num_heads: int
    head_dim: int
    use_bias: bool = True
    scale_scores: bool = True
    attention_norm: str = "layer"
    mlp_norm: str = "layer"
    activation: str = "gelu"
    attention_dropout_rate: float = 0.0
    dropout_rate: float = 0.0


class OpenRows(NamedTuple):
    """Output rows just before the last Dense of the last block's feed-forward half.

    Everything behind is per row and cheap, so that a loss can be differentiated by these rows, and
    the gradient of that Dense be written down row by row, without a pass through the stack.

    Attributes:
        residual: float[..., dim] what the Dense's output is added to.
        hidden: float[..., mlp_dim] what the Dense reads.
    """

    residual: tf.Tensor
    hidden: tf.Tensor


def _as_options(options: BlockOptions | dict) -> BlockOptions:
    return options if isinstance(options, BlockOptions) else BlockOptions(**options)


@keras.saving.register_keras_serializable("mmstack")
class TransformerBlock(keras.layers.Layer):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Call arguments:
        tokens: float[batch, tokens, dim].
        attention_mask: [batch, tokens] or [batch, tokens, tokens], 1 where a key may be seen.
        bias: float[1 or batch, heads, tokens, tokens] added to the scores.
        num_outputs: compute only the first so many rows; all of them still serve as keys. None:
            all.
        training: bool.
        seed: int32[2] for dropout.

    Source: VATT, section 3.2.
    """

    def __init__(self, options: BlockOptions | dict, **kwargs):
        super().__init__(**kwargs)
        self.options = options = _as_options(options)
        policy = self.dtype_policy
        self.attention_norm = normalization.make_norm(
            options.attention_norm, name="attention_norm", dtype=policy
        )
        self.attention = MultiHeadAttention(
            options.num_heads,
            options.head_dim,
            use_bias=options.use_bias,
            scale_scores=options.scale_scores,
            dropout_rate=options.attention_dropout_rate,
            name="attention",
            dtype=policy,
        )
        self.mlp_norm = normalization.make_norm(options.mlp_norm, name="mlp_norm", dtype=policy)
        self.mlp = Mlp(
            options.mlp_dim,
            activation=options.activation,
            use_bias=options.use_bias,
            dropout_rate=options.dropout_rate,
            name="mlp",
            dtype=policy,
        )
        self.dropout = StatelessDropout(options.dropout_rate, name="dropout", dtype=policy)

    def build(self, input_shape=None):
        shape = (None, None, self.options.dim)
        for layer in (self.attention_norm, self.attention, self.mlp_norm, self.mlp):
            layer.build(shape)
        self.built = True

    def call(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        training=False,
        seed=None,
    ):
        rows = self.open(tokens, attention_mask, bias, num_outputs, training=training, seed=seed)
        return self.close(rows, training=training, seed=seed)

    def open(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        training=False,
        seed=None,
    ) -> OpenRows:
        """The first part of `call`, up to the last Dense."""

        def branch(name):
            return randomness.fold_in_optional(seed, name)

        normed = self.attention_norm(tokens)
        queries = normed
        if num_outputs is not None:
            tokens, queries = tokens[:, :num_outputs], normed[:, :num_outputs]
            bias = None if bias is None else bias[:, :, :num_outputs]
            if attention_mask is not None and attention_mask.shape.rank == 3:
                attention_mask = attention_mask[:, :num_outputs]
        attended = self.attention(
            queries,
            memory=normed,
            attention_mask=attention_mask,
            bias=bias,
            training=training,
            seed=branch("attention"),
        )
        tokens += self.dropout(attended, training=training, seed=branch("attention_residual"))
        hidden = self.mlp.hidden(self.mlp_norm(tokens), training=training, seed=branch("mlp"))
        return OpenRows(tokens, hidden)

    def close(self, rows: OpenRows, training=False, seed=None):
        """The rest of `call`."""
        return rows.residual + self.drop_residual(
            self.mlp.wo(rows.hidden), training=training, seed=seed
        )

    def drop_residual(self, values, training=False, seed=None):
        """The dropout between the last Dense and the residual; linear, and its own adjoint."""
        seed = randomness.fold_in_optional(seed, "mlp_residual")
        return self.dropout(values, training=training, seed=seed)

    def get_config(self):
        return {**super().get_config(), "options": dataclasses.asdict(self.options)}


@keras.saving.register_keras_serializable("mmstack")
class TransformerStack(keras.layers.Layer):
    """Blocks one after another, a final normalisation, then dropout.

    Call arguments: those of `TransformerBlock`; `num_outputs` applies to the last block, so that a
    model that reads one row pays for one row there.

    Returns:
        float[batch, tokens or num_outputs, dim].
    """

    def __init__(
        self, num_layers: int, options: BlockOptions | dict, final_norm: str = "layer", **kwargs
    ):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.options = options = _as_options(options)
        self.final_norm_kind = final_norm
        policy = self.dtype_policy
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for index in range(num_layers):
            name = f"block_{index}"
            setattr(self, name, TransformerBlock(options, name=name, dtype=policy))
        self.final_norm = normalization.make_norm(final_norm, name="final_norm", dtype=policy)
        self.dropout = StatelessDropout(options.dropout_rate, name="dropout", dtype=policy)

    @property
    def blocks(self) -> list[TransformerBlock]:
        """The blocks in order."""
        return [getattr(self, f"block_{index}") for index in range(self.num_layers)]

    def build(self, input_shape=None):
        for block in self.blocks:
            block.build()
        self.final_norm.build((None, None, self.options.dim))
        self.built = True

    def call(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        training=False,
        seed=None,
    ):
        rows = self.open(tokens, attention_mask, bias, num_outputs, training=training, seed=seed)
        return self.close(rows, training=training, seed=seed)

    def open(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        training=False,
        seed=None,
    ) -> OpenRows:
        """The first part of `call`, up to the last Dense of the last block."""
        common = {"attention_mask": attention_mask, "bias": bias, "training": training}
        for index, block in enumerate(self.blocks[:-1]):
            tokens = block(tokens, seed=randomness.fold_in_optional(seed, index), **common)
        return self.blocks[-1].open(
            tokens, num_outputs=num_outputs, seed=self._last_seed(seed), **common
        )

    def close(self, rows: OpenRows, training=False, seed=None):
        """The rest of `call`."""
        tokens = self.blocks[-1].close(rows, training=training, seed=self._last_seed(seed))
        return self.dropout(
            self.final_norm(tokens),
            training=training,
            seed=randomness.fold_in_optional(seed, "final"),
        )

    def drop_residual(self, values, training=False, seed=None):
        """The dropout behind the last Dense of the last block; its own adjoint."""
        return self.blocks[-1].drop_residual(values, training=training, seed=self._last_seed(seed))

    def _last_seed(self, seed):
        return randomness.fold_in_optional(seed, self.num_layers - 1)

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "options": dataclasses.asdict(self.options),
            "final_norm": self.final_norm_kind,
        }
