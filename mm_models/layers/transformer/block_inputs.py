"""What goes through transformer blocks."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.mixture_of_experts.statistics import Routing
from mm_models.layers.roles.role_outputs import RoleReport, RoleTrace


@dataclasses.dataclass(frozen=True, eq=False)
class BlockInputs:
    """What a block takes, and a stack of blocks.

    Attributes:
        tokens: float[batch, tokens, dim].
        attention_mask: [batch, tokens] or [1 or batch, tokens, tokens], 1 where a key may be seen.
            Experts take one of rank 2 for their padding mask. None: all see all.
        bias: float[1 or batch, heads, tokens, tokens] added to the scores of self-attention; a
            stack also takes a tuple of one for each block. None: nothing is added.
        num_outputs: compute only the first so many rows; all of them still serve as keys. None:
            all.
        positions: float[1 or batch, tokens, dim] that say where the tokens are to layers that bind
            roles, which alone read them.
        memory: float[batch, memory, dim] that cross-attention reads.
        memory_mask: [batch, memory] or [batch, tokens, memory].
        memory_bias: float[1 or batch, heads, tokens, memory] added to the scores of
            cross-attention.
        memory_positions: as `positions`, of the memory.
        training: whether values are dropped.
        seed: int32[2] for dropout.
        traced: hand out what attention did.
    """

    tokens: tf.Tensor
    attention_mask: tf.Tensor | None = None
    bias: Any = None
    num_outputs: int | None = None
    positions: tf.Tensor | None = None
    memory: tf.Tensor | None = None
    memory_mask: tf.Tensor | None = None
    memory_bias: tf.Tensor | None = None
    memory_positions: tf.Tensor | None = None
    training: bool = False
    seed: tf.Tensor | None = None
    traced: bool = False

    def cast(self, dtype: str) -> "BlockInputs":
        """These, with tokens and memory in the dtype of a computation."""
        memory = None if self.memory is None else tf.cast(self.memory, dtype)
        return dataclasses.replace(self, tokens=tf.cast(self.tokens, dtype), memory=memory)

    def drawing(self, purpose: str | int) -> dict:
        """`training` and `seed` of one layer that drops values, by name."""
        return randomness.drawing(purpose, self.training, self.seed)


class CachedInputs(NamedTuple):
    """What goes through blocks step by step, while what came before is in their caches.

    Attributes:
        tokens: float[rows, tokens, dim], of the tokens at `position` and after it.
        position: int32[].
        attention_mask: [1, tokens, max_length], 1 where a token of the cache may be seen.
        bias: float[1, heads, tokens, max_length], of a stack also a tuple of one for each block, or
            None.
        positions: float[1, tokens, dim], see `BlockInputs`, or None.
        memory_mask: [batch, memory] or None.
        memory_bias: float[1, heads, tokens, memory] or None.
    """

    tokens: tf.Tensor
    position: tf.Tensor
    attention_mask: tf.Tensor
    bias: Any = None
    positions: tf.Tensor | None = None
    memory_mask: tf.Tensor | None = None
    memory_bias: tf.Tensor | None = None


class AttentionTrace(NamedTuple):
    """What one attention did.

    Attributes:
        weights: float32[batch, heads, queries, keys] before dropout.
        roles: see RoleTrace; None where there are no codes.
    """

    weights: tf.Tensor
    roles: RoleTrace | None


class BlockOutputs(NamedTuple):
    """What comes out of a block.

    Attributes:
        tokens: float[batch, tokens or num_outputs, dim].
        routing: what the router did, where there is one.
        roles: of self-attention and of cross-attention, by their names, where they bind codes.
        traces: of the same two, where they are asked for.
    """

    tokens: tf.Tensor
    routing: Routing | None = None
    roles: Mapping[str, RoleReport] = {}
    traces: Mapping[str, AttentionTrace] = {}


class OpenRows(NamedTuple):
    """Output rows just before the last Dense of a block's feed-forward half.

    Attributes:
        residual: float[..., dim] what the Dense's output is added to.
        hidden: float[..., mlp_dim] what the Dense reads.
    """

    residual: tf.Tensor
    hidden: tf.Tensor
