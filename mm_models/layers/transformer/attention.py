"""Multi-head attention with every step a method of its own."""

import math

import keras
import tensorflow as tf

from mm_models.layers import logical_axes, randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.initializers import kernel_initializer
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer import normalization

MASKED_SCORE = -1e9


def leading_shape(values: tf.Tensor, count: int = 2) -> list:
    """The first `count` sizes, as numbers where they are known."""
    dynamic = tf.shape(values)
    return [
        dynamic[axis] if size is None else size for axis, size in enumerate(values.shape[:count])
    ]


def write_at(cache: tf.Tensor, values: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """A cache in which `values` stand from `position` on; what would stand behind its end is lost.

    It is a choice between the two, not a slice that is written: Keras writes slices with an
    operation of XLA, which is slow outside of compiled functions and which servers without XLA do
    not know.

    Args:
        cache: float[rows, heads, max_length, head_dim].
        values: float[rows, heads, tokens, head_dim].
        position: int32[].
    """
    length, num_tokens = cache.shape[2], values.shape[2]
    places = tf.range(length) - position
    here = (places >= 0) & (places < num_tokens)
    if num_tokens > 1:
        # [rows, heads, tokens, head_dim] -> [rows, heads, max_length, head_dim]
        values = tf.gather(values, tf.clip_by_value(places, 0, num_tokens - 1), axis=2)
    return tf.where(here[:, None], tf.cast(values, cache.dtype), cache)


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

    Call arguments:
        queries: float[batch, queries, dim].
        memory: float[batch, keys, dim], or None for self-attention.
        attention_mask: [batch, keys] or [batch, queries, keys], 1 where a key may be seen, or None.
        bias: float[1 or batch, heads, queries, keys] added to the scores, or None.
        training: bool.
        seed: int32[2] for dropout of the attention weights.

    Returns:
        float[batch, queries, dim].

    Source: VATT, section 3.2; T5 for the unscaled form without biases; the released IMP code for
    `qk_norm`.
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
        self.built = True

    def _split_heads(self, values):
        # [batch, tokens, heads * head_dim] -> [batch, heads, tokens, head_dim]
        values = tf.reshape(values, [*leading_shape(values), self.num_heads, self.head_dim])
        return logical_axes.split_by("heads", tf.transpose(values, [0, 2, 1, 3]), 1)

    def project_queries(self, queries):
        """float[batch, queries, dim] -> float[batch, heads, queries, head_dim], normalised and
        scaled if asked."""
        projected = self._split_heads(self.q(queries))
        if self.qk_norm:
            projected = self.q_norm(projected)
        if self.scale_scores:
            projected *= tf.cast(1.0 / math.sqrt(self.head_dim), projected.dtype)
        return projected

    def project_memory(self, memory):
        """float[batch, keys, dim] -> keys and values, float[batch, heads, keys, head_dim] each;
        keys normalised if asked."""
        keys = self._split_heads(self.k(memory))
        if self.qk_norm:
            keys = self.k_norm(keys)
        return keys, self._split_heads(self.v(memory))

    def attention_weights(self, queries, keys, attention_mask=None, bias=None):
        """float32[batch, heads, queries, keys] that sum to 1 over the keys."""
        scores = tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32)
        if bias is not None:
            scores += tf.cast(bias, tf.float32)
        if attention_mask is not None:
            hidden = 1.0 - tf.cast(attention_mask, tf.float32)
            axes = (1, 2) if attention_mask.shape.rank == 2 else (1,)
            for axis in axes:
                hidden = tf.expand_dims(hidden, axis)
            scores += hidden * MASKED_SCORE
        return tf.nn.softmax(scores, axis=-1)

    def attend(self, queries, keys, values, *, attention_mask, bias, training, seed):
        """Mixes `values` by the match of queries and keys: float[batch, queries, dim]."""
        weights = self.attention_weights(queries, keys, attention_mask, bias)
        weights = self.dropout(tf.cast(weights, values.dtype), training=training, seed=seed)
        # [batch, heads, queries, head_dim] -> [batch, queries, heads * head_dim]
        mixed = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])
        inner = self.num_heads * self.head_dim
        mixed = tf.reshape(mixed, [*leading_shape(mixed), inner])
        return self.o(logical_axes.split_by("heads", mixed, 2))

    def empty_cache(self, num_rows, max_length: int) -> dict[str, tf.Tensor]:
        """What `step` keeps of the tokens so far: float[rows, heads, max_length, head_dim] each."""
        shape = [num_rows, self.num_heads, max_length, self.head_dim]
        return {name: tf.zeros(shape, self.compute_dtype) for name in ("keys", "values")}

    def step(self, queries, cache, position, *, attention_mask, bias):
        """Self-attention of the next tokens to themselves and to all before them.

        Args:
            queries: float[rows, tokens, dim], of the tokens at `position` and after it.
            cache: of the tokens before; theirs are written into it.
            position: int32[].
            attention_mask, bias: as for `call`, with `max_length` keys.

        Returns:
            float[rows, tokens, dim] and the new cache.
        """
        keys, values = self.project_memory(queries)
        cache = {
            **cache,
            "keys": write_at(cache["keys"], keys, position),
            "values": write_at(cache["values"], values, position),
        }
        attended = self.attend(
            self.project_queries(queries),
            cache["keys"],
            cache["values"],
            attention_mask=attention_mask,
            bias=bias,
            training=False,
            seed=None,
        )
        return attended, cache

    def remember(self, memory) -> dict[str, tf.Tensor]:
        """What `read` needs of a memory float[batch, keys, dim]: computed once for all steps."""
        keys, values = self.project_memory(memory)
        return {"keys": keys, "values": values}

    def read(self, queries, remembered, attention_mask=None):
        """Attention to a memory that several rows share.

        Args:
            queries: float[rows, tokens, dim]; rows of one example lie together.
            remembered: of batch examples; rows is a multiple of batch.
            attention_mask: [batch, keys] or None.

        Returns:
            float[rows, tokens, dim].
        """
        batch = leading_shape(remembered["keys"], 1)[0]
        dim = queries.shape[-1]
        # [rows, tokens, dim] -> [batch, rows of an example * tokens, dim]
        attended = self.attend(
            self.project_queries(tf.reshape(queries, [batch, -1, dim])),
            remembered["keys"],
            remembered["values"],
            attention_mask=attention_mask,
            bias=None,
            training=False,
            seed=None,
        )
        return tf.reshape(attended, [*leading_shape(queries), dim])

    def call(self, queries, memory=None, attention_mask=None, bias=None, training=False, seed=None):
        keys, values = self.project_memory(queries if memory is None else memory)
        return self.attend(
            self.project_queries(queries),
            keys,
            values,
            attention_mask=attention_mask,
            bias=bias,
            **randomness.drawing(Purpose.ATTENTION_WEIGHTS, training, seed),
        )
