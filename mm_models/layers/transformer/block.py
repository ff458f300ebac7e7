"""One pre-norm transformer block, over whole sequences or step by step."""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.mixture_of_experts.layer import MixtureOfExperts
from mm_models.layers.mixture_of_experts.options import ExpertOptions, as_options
from mm_models.layers.mixture_of_experts.statistics import Routing
from mm_models.layers.transformer import normalization
from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.block_options import BlockOptions, as_block_options
from mm_models.layers.transformer.mlp import Mlp


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


def as_dict(options: ExpertOptions | None) -> dict | None:
    """The fields of options that may be missing."""
    return None if options is None else dataclasses.asdict(options)


def _check_experts(options: BlockOptions) -> None:
    if options.gated or options.initialization != "glorot":
        raise ValueError("experts have no gated form and no initialization but 'glorot'")


@keras.saving.register_keras_serializable("mmstack")
class TransformerBlock(keras.layers.Layer):
    """x + attention(norm(x)), then x + mlp(norm(x)); between the two, where the options say so,
    x + cross_attention(norm(x), memory).

    Args:
        options: what the block is made of.
        experts: put a mixture of experts in the place of the feed-forward half; None: do not.

    Call arguments:
        tokens: float[batch, tokens, dim].
        attention_mask: [batch, tokens] or [1 or batch, tokens, tokens], 1 where a key may be seen.
            The experts take one of rank 2 for their padding mask.
        bias: float[1 or batch, heads, tokens, tokens] added to the scores of self-attention.
        num_outputs: compute only the first so many rows; all of them still serve as keys. None:
            all.
        memory: float[batch, memory, dim] that cross-attention reads.
        memory_mask: [batch, memory] or [batch, tokens, memory].
        training: bool.
        seed: int32[2] for dropout.

    Raises:
        ValueError: experts in the place of a gated or T5X-initialised half, which they lack.

    Source: VATT, section 3.2; IMP for experts; T5 for cross-attention.
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
        self.attention_norm = self._norm(options.attention_norm, "attention_norm")
        self.attention = self.make_attention("attention")
        if options.cross_attention:
            self.cross_attention_norm = self._norm(options.attention_norm, "cross_attention_norm")
            self.cross_attention = self.make_attention("cross_attention")
        self.mlp_norm = self._norm(options.mlp_norm, "mlp_norm")
        feed_forward = {
            "hidden_dim": options.mlp_dim,
            "activation": options.activation,
            "use_bias": options.use_bias,
            "dropout_rate": options.dropout_rate,
            "dtype": policy,
        }
        if self.expert_options is None:
            self.mlp = Mlp(
                gated=options.gated,
                initialization=options.initialization,
                name="mlp",
                **feed_forward,
            )
        else:
            _check_experts(options)
            self.experts = MixtureOfExperts(self.expert_options, name="experts", **feed_forward)
        self.dropout = StatelessDropout(options.dropout_rate, name="dropout", dtype=policy)

    def _norm(self, kind, name):
        epsilon = self.options.norm_epsilon
        return normalization.make_norm(kind, name=name, dtype=self.dtype_policy, epsilon=epsilon)

    def make_attention(self, name: str) -> MultiHeadAttention:
        """`attention` or `cross_attention`; a subclass may have another layer with its methods."""
        options = self.options
        return MultiHeadAttention(
            options.num_heads,
            options.head_dim,
            use_bias=options.use_bias,
            scale_scores=options.scale_scores,
            qk_norm=options.qk_norm,
            dropout_rate=options.attention_dropout_rate,
            initialization=options.initialization,
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape=None):
        shape = (None, None, self.options.dim)
        half = self.mlp if self.expert_options is None else self.experts
        cross = ()
        if self.options.cross_attention:
            cross = (self.cross_attention_norm, self.cross_attention)
        for layer in (self.attention_norm, self.attention, *cross, self.mlp_norm, half):
            layer.build(shape)
        self.built = True

    def call(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        memory=None,
        memory_mask=None,
        training=False,
        seed=None,
    ):
        return self.forward(
            tokens,
            attention_mask,
            bias,
            num_outputs,
            memory,
            memory_mask,
            training=training,
            seed=seed,
        )[0]

    def forward(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        memory=None,
        memory_mask=None,
        training=False,
        seed=None,
    ) -> tuple[tf.Tensor, Routing | None]:
        """What `call` returns, and what the router did where there is one."""
        options = {"training": training, "seed": seed}
        memories = {"memory": memory, "memory_mask": memory_mask}
        if self.expert_options is None:
            rows = self.open(tokens, attention_mask, bias, num_outputs, **memories, **options)
            return self.close(rows, **options), None
        # All rows, whatever is asked for: who meets which expert depends on all of them.
        tokens = self._attend(tokens, attention_mask, bias, None, **options)
        tokens = self._read(tokens, **memories, **options)
        padding_mask = attention_mask
        if attention_mask is not None and attention_mask.shape.rank != 2:
            padding_mask = None
        taken = self._meet_experts(tokens, padding_mask, **options)
        tokens += self.drop_residual(taken.tokens, **options)
        return tokens if num_outputs is None else tokens[:, :num_outputs], taken.routing

    def _meet_experts(self, tokens, padding_mask, *, training, seed):
        return self.experts(
            self.mlp_norm(tokens),
            padding_mask=padding_mask,
            training=training,
            seed=randomness.fold_in_optional(seed, "mlp"),
        )

    def open(
        self,
        tokens,
        attention_mask=None,
        bias=None,
        num_outputs=None,
        memory=None,
        memory_mask=None,
        training=False,
        seed=None,
    ) -> OpenRows:
        """The first part of `call`, up to the last Dense; not for a block with experts."""
        if self.expert_options is not None:
            raise ValueError(f"block {self.name!r} has experts, and no single last Dense")
        options = {"training": training, "seed": seed}
        tokens = self._attend(tokens, attention_mask, bias, num_outputs, **options)
        tokens = self._read(tokens, memory, memory_mask, **options)
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

    def _read(self, tokens, memory, memory_mask, *, training, seed):
        """x + cross_attention(norm(x), memory), or x itself in a block without."""
        if not self.options.cross_attention:
            return tokens
        if memory_mask is not None and memory_mask.shape.rank == 3:
            memory_mask = memory_mask[:, : tokens.shape[1]]
        attended = self.cross_attention(
            self.cross_attention_norm(tokens),
            memory=memory,
            attention_mask=memory_mask,
            training=training,
            seed=randomness.fold_in_optional(seed, "cross_attention"),
        )
        seed = randomness.fold_in_optional(seed, "cross_attention_residual")
        return tokens + self.dropout(attended, training=training, seed=seed)

    def close(self, rows: OpenRows, training=False, seed=None):
        """The rest of `call`."""
        return rows.residual + self.drop_residual(
            self.mlp.wo(rows.hidden), training=training, seed=seed
        )

    def drop_residual(self, values, training=False, seed=None):
        """The dropout between the last Dense and the residual; linear, and its own adjoint."""
        seed = randomness.fold_in_optional(seed, "mlp_residual")
        return self.dropout(values, training=training, seed=seed)

    def remember(self, memory) -> dict[str, tf.Tensor]:
        """What `step` needs of a memory float[batch, memory, dim]; nothing without
        cross-attention."""
        return self.cross_attention.remember(memory) if self.options.cross_attention else {}

    def step(self, tokens, cache, position, *, attention_mask, bias, remembered, memory_mask):
        """The block's output for the next tokens, of which those before are in the cache.

        Args:
            tokens: float[rows, tokens, dim], from `position` on.
            cache: of `attention.empty_cache`, or what a step before gave.
            position: int32[].
            attention_mask, bias: [1, tokens, max_length] and float[1, heads, tokens, max_length].
            remembered: what `remember` gave.
            memory_mask: [batch, memory] or None.

        Returns:
            float[rows, tokens, dim] and the new cache.
        """
        attended, cache = self.attention.step(
            self.attention_norm(tokens), cache, position, attention_mask=attention_mask, bias=bias
        )
        tokens += attended
        if self.options.cross_attention:
            queries = self.cross_attention_norm(tokens)
            tokens += self.cross_attention.read(queries, remembered, memory_mask)
        if self.expert_options is None:
            return tokens + self.mlp(self.mlp_norm(tokens)), cache
        return tokens + self._meet_experts(tokens, None, training=False, seed=None).tokens, cache

    def get_config(self):
        return {
            **super().get_config(),
            "options": dataclasses.asdict(self.options),
            "experts": as_dict(self.expert_options),
        }
