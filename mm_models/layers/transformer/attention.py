"""Multi-head attention with every step a method of its own."""

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.initializers import kernel_initializer
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.roles.make_role import make_role
from mm_models.layers.roles.role_options import RoleOptions, as_role_options
from mm_models.layers.roles.role_outputs import Roles
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer import normalization
from mm_models.layers.transformer.heads import (
    attention_weights,
    join_heads,
    leading_shape,
    split_heads,
    write_at,
)


class Attended(NamedTuple):
    """What attention gives.

    Attributes:
        tokens: float[batch, queries, dim].
        weights: float32[batch, heads, queries, keys] before dropout.
        roles: that were bound to what was attended to; None without.
    """

    tokens: tf.Tensor
    weights: tf.Tensor
    roles: Roles | None


@keras.saving.register_keras_serializable("mmstack")
class MultiHeadAttention(SavedLayer):
    """Scaled (or unscaled) dot-product attention over several heads.

    `project_queries`, `project_memory` and `attend` are separate, so that a decoder can keep keys
    and values between calls (`empty_cache` and `step`, or `remember` and `read`), and a subclass
    can normalise queries and keys, change values, or keep more in the cache, without a new layer.
    Kernels are 2-D, [dim, heads * head_dim], as in the published checkpoints.

    Args:
        num_heads, head_dim: heads and the width of each.
        use_bias: biases of the four Dense.
        scale_scores: divide scores by the root of `head_dim`.
        qk_norm: normalise every head's queries and keys over `head_dim` (mean and variance, scale
            only), with one scale for all heads, before scores are scaled.
        dropout_rate: of the attention weights.
        initialization: see `initializers.kernel_initializer`.
        role: what multiplies every head's output before the heads are joined, a RoleOptions or the
            dict of one; None: nothing does.

    Call arguments:
        queries: float[batch, queries, dim].
        memory: float[batch, keys, dim], or None for self-attention.
        attention_mask: [batch, keys] or [batch, queries, keys], 1 where a key may be seen, or None.
        bias: float[1 or batch, heads, queries, keys] added to the scores, or None.
        positions, memory_positions: float[1 or batch, tokens, dim] of queries and memory, which
            roles may depend on, or None; of the memory None for self-attention.
        training: bool.
        seed: int32[2] for dropout of the attention weights.
        detailed: return Attended instead.

    Returns:
        float[batch, queries, dim].

    Source: VATT, section 3.2; T5 for the unscaled form without biases; the released IMP code for
    `qk_norm`; R3 for roles.
    """

    def __init__(
        self,
        num_heads: int,
        head_dim: int,
        *,
        use_bias: bool = True,
        scale_scores: bool = True,
        qk_norm: bool = False,
        dropout_rate: float = 0.0,
        initialization: str = "glorot",
        role: RoleOptions | dict | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.use_bias = use_bias
        self.scale_scores = scale_scores
        self.qk_norm = qk_norm
        self.dropout_rate = dropout_rate
        self.initialization = initialization
        inner = num_heads * head_dim
        self.q = self._dense(inner, "q")
        self.k = self._dense(inner, "k")
        self.v = self._dense(inner, "v")
        if qk_norm:
            self.q_norm = self._head_norm("q_norm")
            self.k_norm = self._head_norm("k_norm")
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=self.dtype_policy)
        self.role = role = as_role_options(role)
        if role is not None:
            self.role_layer = make_role(
                role, num_heads, head_dim, name="role", dtype=self.dtype_policy
            )

    def _dense(self, units, name):
        role = "query" if name == "q" else "attention"
        return keras.layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=kernel_initializer(self.initialization, role, self.head_dim),
            name=name,
            dtype=self.dtype_policy,
        )

    def _head_norm(self, name):
        return normalization.make_norm("layer_scale", name=name, dtype=self.dtype_policy)

    def build(self, input_shape):
        dim = input_shape[-1]
        self.o = self._dense(dim, "o")
        for projection in (self.q, self.k, self.v):
            projection.build((None, None, dim))
        self.o.build((None, None, self.num_heads * self.head_dim))
        if self.qk_norm:
            for norm in (self.q_norm, self.k_norm):
                norm.build((None, None, None, self.head_dim))
        if self.role is not None:
            self.role_layer.build((None, None, dim))
        self.built = True

    def project_queries(self, queries):
        """float[batch, queries, dim] -> float[batch, heads, queries, head_dim], normalised and
        scaled if asked."""
        projected = split_heads(self.q(queries), self.num_heads)
        if self.qk_norm:
            projected = self.q_norm(projected)
        if self.scale_scores:
            projected *= tf.cast(1.0 / math.sqrt(self.head_dim), projected.dtype)
        return projected

    def project_memory(self, memory):
        """float[batch, keys, dim] -> keys and values, float[batch, heads, keys, head_dim] each;
        keys normalised if asked."""
        keys = split_heads(self.k(memory), self.num_heads)
        if self.qk_norm:
            keys = self.k_norm(keys)
        return keys, split_heads(self.v(memory), self.num_heads)

    def attend(
        self, queries, keys, values, *, attention_mask, bias, training, seed, roles=None
    ) -> Attended:
        """Mixes `values` by the match of queries and keys, and binds roles to what comes of it."""
        weights = attention_weights(queries, keys, attention_mask, bias)
        dropped = self.dropout(tf.cast(weights, values.dtype), training=training, seed=seed)
        # [batch, heads, queries, head_dim]
        mixed = tf.matmul(dropped, values)
        if roles is not None:
            mixed *= roles.values
        return Attended(self.o(join_heads(mixed)), weights, roles)

    def _roles(self, queries, positions, remembered, attention_mask, training=False, seed=None):
        if self.role is None:
            return None
        drawing = randomness.drawing(Purpose.ROLE, training, seed)
        return self.role_layer.bind(queries, positions, remembered, attention_mask, **drawing)

    def _remembered_roles(self, memory, positions) -> dict[str, tf.Tensor]:
        return {} if self.role is None else self.role_layer.remember(memory, positions)

    def empty_cache(self, num_rows, max_length: int) -> dict[str, tf.Tensor]:
        """What `step` keeps of the tokens so far: float[rows, heads, max_length, head_dim] each."""
        shape = [num_rows, self.num_heads, max_length, self.head_dim]
        names = ["keys", "values"]
        if self.role is not None:
            names += [_of_role(name) for name in self.role_layer.remembers]
        return {name: tf.zeros(shape, self.compute_dtype) for name in names}

    def step(self, queries, cache, position, *, attention_mask, bias, positions=None):
        """Self-attention of the next tokens to themselves and to all before them.

        Args:
            queries: float[rows, tokens, dim], of the tokens at `position` and after it.
            cache: of the tokens before; theirs are written into it.
            position: int32[].
            attention_mask, bias: as for `call`, with `max_length` keys.
            positions: float[1 or rows, tokens, dim] of these tokens, or None.

        Returns:
            float[rows, tokens, dim] and the new cache.
        """
        fresh = self.remember(queries, positions)
        written = {name: write_at(cache[name], value, position) for name, value in fresh.items()}
        cache = {**cache, **written}
        attended = self._read(queries, cache, attention_mask, bias, positions)
        return attended, cache

    def remember(self, memory, positions=None) -> dict[str, tf.Tensor]:
        """What `read` needs of a memory float[batch, keys, dim], whose `positions` are
        float[1 or batch, keys, dim] or None: computed once for all steps."""
        keys, values = self.project_memory(memory)
        roles = self._remembered_roles(memory, positions)
        return {"keys": keys, "values": values} | {
            _of_role(name): value for name, value in roles.items()
        }

    def read(self, queries, remembered, attention_mask=None, bias=None, positions=None):
        """Attention to a memory that several rows share.

        Args:
            queries: float[rows, tokens, dim]; rows of one example lie together.
            remembered: of batch examples; rows is a multiple of batch.
            attention_mask: [batch, keys] or None.
            bias: float[1, heads, tokens, keys] or None.
            positions: float[1, tokens, dim] of the tokens, or None.

        Returns:
            float[rows, tokens, dim].
        """
        batch = leading_shape(remembered["keys"], 1)[0]
        rows, num_tokens = leading_shape(queries)
        dim = queries.shape[-1]
        # [rows, tokens, dim] -> [batch, rows of an example * tokens, dim]
        together = tf.reshape(queries, [batch, -1, dim])
        each = rows // batch
        if bias is not None:
            bias = tf.tile(bias, [1, 1, each, 1])
        if positions is not None:
            positions = tf.tile(positions, [1, each, 1])
        attended = self._read(together, remembered, attention_mask, bias, positions)
        return tf.reshape(attended, [rows, num_tokens, dim])

    def _read(self, queries, remembered, attention_mask, bias, positions):
        roles = {
            name: remembered[_of_role(name)]
            for name in (self.role_layer.remembers if self.role is not None else ())
        }
        return self.attend(
            self.project_queries(queries),
            remembered["keys"],
            remembered["values"],
            attention_mask=attention_mask,
            bias=bias,
            roles=self._roles(queries, positions, roles, attention_mask),
            training=False,
            seed=None,
        ).tokens

    def call(
        self,
        queries,
        memory=None,
        attention_mask=None,
        bias=None,
        positions=None,
        memory_positions=None,
        training=False,
        seed=None,
        detailed=False,
    ):
        if memory is None:
            memory, memory_positions = queries, positions
        keys, values = self.project_memory(memory)
        roles = self._roles(
            queries,
            positions,
            self._remembered_roles(memory, memory_positions),
            attention_mask,
            training,
            seed,
        )
        attended = self.attend(
            self.project_queries(queries),
            keys,
            values,
            attention_mask=attention_mask,
            bias=bias,
            roles=roles,
            **randomness.drawing(Purpose.ATTENTION_WEIGHTS, training, seed),
        )
        return attended if detailed else attended.tokens


def _of_role(name: str) -> str:
    return f"role_{name}"
