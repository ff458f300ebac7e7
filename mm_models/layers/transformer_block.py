"""One pre-norm transformer block."""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.layers import normalization, randomness
from mm_models.layers.attention import MultiHeadAttention
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.mixture_of_experts.layer import MixtureOfExperts
from mm_models.layers.mixture_of_experts.options import ExpertOptions, as_options
from mm_models.layers.mixture_of_experts.statistics import Routing
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
        qk_norm: normalise queries and keys, see `MultiHeadAttention`.
        attention_norm, mlp_norm: normalisation before each half, see `normalization.make_norm`.
        norm_epsilon: of both, and of the last one of a stack.
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
    qk_norm: bool = False
    attention_norm: str = "layer"
    mlp_norm: str = "layer"
    norm_epsilon: float = normalization.EPSILON
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


def as_block_options(options: BlockOptions | dict) -> BlockOptions:
    """The options themselves, or those that a dict of their fields describes."""
    return options if isinstance(options, BlockOptions) else BlockOptions(**options)


def as_dict(options: ExpertOptions | None) -> dict | None:
    """The fields of options that may be missing."""
    return None if options is None else dataclasses.asdict(options)


@keras.saving.register_keras_serializable("mmstack")
class TransformerBlock(keras.layers.Layer):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        options: what the block is made of.
        experts: put a mixture of experts in the place of the feed-forward half; None: do not.

    Call arguments:
        tokens: float[batch, tokens, dim].
        attention_mask: [batch, tokens] or [batch, tokens, tokens], 1 where a key may be seen. The
            experts take one of rank 2 for their padding mask.
        bias: float[1 or batch, heads, tokens, tokens] added to the scores.
        num_outputs: compute only the first so many rows; all of them still serve as keys. None:
            all.
        training: bool.
        seed: int32[2] for dropout.

    Source: VATT, section 3.2; IMP for experts.
    """

    def __init__(
        self,
        options: BlockOptions | dict,
        experts: ExpertOptions | dict | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.options = options = as_block_options(options)
        self.expert_options = None if experts is None else as_options(experts)
        policy = self.dtype_policy
        norm = {"dtype": policy, "epsilon": options.norm_epsilon}
        self.attention_norm = normalization.make_norm(
            options.attention_norm, name="attention_norm", **norm
        )
        self.attention = MultiHeadAttention(
            options.num_heads,
            options.head_dim,
            use_bias=options.use_bias,
            scale_scores=options.scale_scores,
            qk_norm=options.qk_norm,
            dropout_rate=options.attention_dropout_rate,
            name="attention",
            dtype=policy,
        )
        self.mlp_norm = normalization.make_norm(options.mlp_norm, name="mlp_norm", **norm)
        feed_forward = {
            "hidden_dim": options.mlp_dim,
            "activation": options.activation,
            "use_bias": options.use_bias,
            "dropout_rate": options.dropout_rate,
            "dtype": policy,
        }
        if self.expert_options is None:
            self.mlp = Mlp(name="mlp", **feed_forward)
        else:
            self.experts = MixtureOfExperts(self.expert_options, name="experts", **feed_forward)
        self.dropout = StatelessDropout(options.dropout_rate, name="dropout", dtype=policy)

    def build(self, input_shape=None):
        shape = (None, None, self.options.dim)
        half = self.mlp if self.expert_options is None else self.experts
        for layer in (self.attention_norm, self.attention, self.mlp_norm, half):
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
        return self.forward(
            tokens, attention_mask, bias, num_outputs, training=training, seed=seed
        )[0]

    def forward(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        training=False,
        seed=None,
    ) -> tuple[tf.Tensor, Routing | None]:
        """What `call` returns, and what the router did where there is one."""
        options = {"training": training, "seed": seed}
        if self.expert_options is None:
            rows = self.open(tokens, attention_mask, bias, num_outputs, **options)
            return self.close(rows, **options), None
        # All rows, whatever is asked for: who meets which expert depends on all of them.
        tokens = self._attend(tokens, attention_mask, bias, None, **options)
        padding_mask = attention_mask
        if attention_mask is not None and attention_mask.shape.rank != 2:
            padding_mask = None
        taken = self.experts(
            self.mlp_norm(tokens),
            padding_mask=padding_mask,
            training=training,
            seed=randomness.fold_in_optional(seed, "mlp"),
        )
        tokens += self.drop_residual(taken.tokens, **options)
        return tokens if num_outputs is None else tokens[:, :num_outputs], taken.routing

    def open(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        training=False,
        seed=None,
    ) -> OpenRows:
        """The first part of `call`, up to the last Dense; not for a block with experts."""
        if self.expert_options is not None:
            raise ValueError(f"block {self.name!r} has experts, and no single last Dense")
        tokens = self._attend(
            tokens, attention_mask, bias, num_outputs, training=training, seed=seed
        )
        hidden = self.mlp.hidden(
            self.mlp_norm(tokens),
            training=training,
            seed=randomness.fold_in_optional(seed, "mlp"),
        )
        return OpenRows(tokens, hidden)

    def _attend(self, tokens, attention_mask, bias, num_outputs, *, training, seed):
        """x + attention(norm(x))."""

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
        return tokens + self.dropout(attended, training=training, seed=branch("attention_residual"))

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
        return {
            **super().get_config(),
            "options": dataclasses.asdict(self.options),
            "experts": as_dict(self.expert_options),
        }
