"""One pre-norm transformer block, over whole sequences or step by step."""

import dataclasses

import keras
import tensorflow as tf

from mm_models.layers import logical_axes
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.mixture_of_experts.layer import MixtureOfExperts
from mm_models.layers.mixture_of_experts.options import ExpertOptions, as_options
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.roles.role_options import RoleOptions
from mm_models.layers.roles.role_outputs import RoleReport
from mm_models.layers.transformer import normalization
from mm_models.layers.transformer.attention import Attended, MultiHeadAttention
from mm_models.layers.transformer.block_inputs import (
    AttentionTrace,
    BlockInputs,
    BlockOutputs,
    CachedInputs,
    OpenRows,
)
from mm_models.layers.transformer.block_options import BlockOptions, as_block_options
from mm_models.layers.transformer.mlp import Mlp


def as_dict(options: ExpertOptions | None) -> dict | None:
    """The fields of options that may be missing."""
    return None if options is None else dataclasses.asdict(options)


class _Noted:
    """What the attentions of a block leave beside its tokens."""

    def __init__(self, traced: bool):
        self.roles: dict[str, RoleReport] = {}
        self.traces: dict[str, AttentionTrace] = {}
        self._traced = traced

    def take(self, name: str, attended: Attended) -> None:
        """Notes what the attention of this name did."""
        roles = attended.roles
        if roles is not None and roles.report is not None:
            self.roles[name] = roles.report
        if self._traced:
            trace = None if roles is None else roles.trace
            self.traces[name] = AttentionTrace(attended.weights, trace)


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

    Called with tokens float[batch, tokens, dim], `training` and `seed: int32[2]`, a block lets all
    tokens see all; `forward` takes all that `BlockInputs` name.

    Raises:
        ValueError: experts in the place of a gated or T5X-initialised half, which they lack.

    Source: VATT, section 3.2; IMP for experts; T5 for cross-attention.
    """

    def __init__(
        self, options: BlockOptions | dict, experts: ExpertOptions | dict | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.options = options = as_block_options(options)
        self.expert_options = None if experts is None else as_options(experts)
        policy = self.dtype_policy
        self.attention_norm = self._norm(options.attention_norm, "attention_norm")
        self.attention = self.make_attention("attention", options.role)
        if options.cross_attention:
            self.cross_attention_norm = self._norm(options.attention_norm, "cross_attention_norm")
            self.cross_attention = self.make_attention("cross_attention", options.memory_role)
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

    def make_attention(self, name: str, role: RoleOptions | None = None) -> MultiHeadAttention:
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
            role=role,
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

    def call(self, tokens, training=False, seed=None):
        return self.forward(BlockInputs(tokens, training=training, seed=seed)).tokens

    def forward(self, inputs: BlockInputs) -> BlockOutputs:
        """The whole block."""
        inputs = inputs.cast(self.compute_dtype)
        noted = _Noted(inputs.traced)
        if self.expert_options is None:
            rows = self._open(inputs, noted)
            tokens = self.close(rows.residual, self.last_dense(rows.hidden), inputs)
            return BlockOutputs(tokens, None, noted.roles, noted.traces)
        # All rows, whatever is asked for: who meets which expert depends on all of them.
        every = dataclasses.replace(inputs, num_outputs=None)
        tokens = self._read(self._attend(every, noted), inputs, noted)
        padding_mask = inputs.attention_mask
        if padding_mask is not None and padding_mask.shape.rank != 2:
            padding_mask = None
        taken = self._meet_experts(tokens, padding_mask, **inputs.drawing(Purpose.MLP))
        tokens = self.close(tokens, taken.tokens, inputs)[:, : inputs.num_outputs]
        return BlockOutputs(tokens, taken.routing, noted.roles, noted.traces)

    def _meet_experts(self, tokens, padding_mask, *, training=False, seed=None):
        normed = self.mlp_norm(tokens)
        return self.experts(normed, padding_mask=padding_mask, training=training, seed=seed)

    def open(self, inputs: BlockInputs) -> OpenRows:
        """The first part of `forward`, up to the last Dense; not for a block with experts.

        With `last_dense` and `close` it is `forward`: a loss can so be differentiated by what the
        last Dense reads and gives, without a pass through what comes before.
        """
        if self.expert_options is not None:
            raise ValueError(f"block {self.name!r} has experts, and no single last Dense")
        inputs = inputs.cast(self.compute_dtype)
        return self._open(inputs, _Noted(inputs.traced))

    def _open(self, inputs, noted) -> OpenRows:
        tokens = self._read(self._attend(inputs, noted), inputs, noted)
        return OpenRows(
            tokens, self.mlp.hidden(self.mlp_norm(tokens), **inputs.drawing(Purpose.MLP))
        )

    def last_dense(self, hidden):
        """float[..., mlp_dim] -> float[..., dim]."""
        return self.mlp.wo(hidden)

    def close(self, residual, branch, inputs: BlockInputs):
        """The rest of `forward`: what the last Dense gave, dropped, and added to the residual."""
        dropped = self.dropout(branch, **inputs.drawing(Purpose.MLP_RESIDUAL))
        return logical_axes.whole(residual + dropped)

    def _attend(self, inputs: BlockInputs, noted: "_Noted"):
        """x + attention(norm(x))."""
        tokens, attention_mask, bias = inputs.tokens, inputs.attention_mask, inputs.bias
        normed = queries = self.attention_norm(tokens)
        positions = inputs.positions
        count = inputs.num_outputs
        if count is not None:
            tokens, queries = tokens[:, :count], normed[:, :count]
            bias = None if bias is None else bias[:, :, :count]
            positions = None if positions is None else positions[:, :count]
            if attention_mask is not None and attention_mask.shape.rank == 3:
                attention_mask = attention_mask[:, :count]
        attended = self.attention(
            queries,
            memory=normed,
            attention_mask=attention_mask,
            bias=bias,
            positions=positions,
            memory_positions=inputs.positions,
            detailed=True,
            **inputs.drawing(Purpose.ATTENTION),
        )
        noted.take("attention", attended)
        dropped = self.dropout(attended.tokens, **inputs.drawing(Purpose.ATTENTION_RESIDUAL))
        return logical_axes.whole(tokens + dropped)

    def _read(self, tokens, inputs: BlockInputs, noted: "_Noted"):
        """x + cross_attention(norm(x), memory), or x itself in a block without."""
        if not self.options.cross_attention:
            return tokens
        memory_mask, bias, positions = inputs.memory_mask, inputs.memory_bias, inputs.positions
        count = tokens.shape[1]
        if memory_mask is not None and memory_mask.shape.rank == 3:
            memory_mask = memory_mask[:, :count]
        attended = self.cross_attention(
            self.cross_attention_norm(tokens),
            memory=inputs.memory,
            attention_mask=memory_mask,
            bias=None if bias is None else bias[:, :, :count],
            positions=None if positions is None else positions[:, :count],
            memory_positions=inputs.memory_positions,
            detailed=True,
            **inputs.drawing(Purpose.CROSS_ATTENTION),
        )
        noted.take("cross_attention", attended)
        dropped = self.dropout(attended.tokens, **inputs.drawing(Purpose.CROSS_ATTENTION_RESIDUAL))
        return logical_axes.whole(tokens + dropped)

    def remember(self, memory, positions=None) -> dict[str, tf.Tensor]:
        """What `step` needs of a memory float[batch, memory, dim] and of its positions; nothing
        without cross-attention."""
        if not self.options.cross_attention:
            return {}
        return self.cross_attention.remember(memory, positions)

    def step(self, cached: CachedInputs, cache, remembered):
        """The block's output for the next tokens, of which those before are in the cache.

        Args:
            cached: the tokens, and all that blocks share.
            cache: of `attention.empty_cache`, or what a step before gave.
            remembered: what `remember` gave.

        Returns:
            float[rows, tokens, dim] and the new cache.
        """
        tokens = cached.tokens
        attended, cache = self.attention.step(
            self.attention_norm(tokens),
            cache,
            cached.position,
            attention_mask=cached.attention_mask,
            bias=cached.bias,
            positions=cached.positions,
        )
        tokens += attended
        if self.options.cross_attention:
            tokens += self.cross_attention.read(
                self.cross_attention_norm(tokens),
                remembered,
                cached.memory_mask,
                cached.memory_bias,
                cached.positions,
            )
        if self.expert_options is None:
            return tokens + self.mlp(self.mlp_norm(tokens)), cache
        return tokens + self._meet_experts(tokens, None).tokens, cache

    def get_config(self):
        return {
            **super().get_config(),
            "options": dataclasses.asdict(self.options),
            "experts": as_dict(self.expert_options),
        }
