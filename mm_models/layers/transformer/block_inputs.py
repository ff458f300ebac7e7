"""What goes through transformer blocks."""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from mm_models.layers import randomness


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
        memory: float[batch, memory, dim] that cross-attention reads.
        memory_mask: [batch, memory] or [batch, tokens, memory].
        training: whether values are dropped.
        seed: int32[2] for dropout.
    """

    tokens: tf.Tensor
    attention_mask: tf.Tensor | None = None
    bias: Any = None
    num_outputs: int | None = None
    memory: tf.Tensor | None = None
    memory_mask: tf.Tensor | None = None
    training: bool = False
    seed: tf.Tensor | None = None

    def cast(self, dtype: str) -> "BlockInputs":
        """These, with tokens and memory in the dtype of a computation."""
        memory = None if self.memory is None else tf.cast(self.memory, dtype)
        return dataclasses.replace(self, tokens=tf.cast(self.tokens, dtype), memory=memory)

    def drawing(self, purpose: str | int) -> dict:
        """`training` and `seed` of one layer that drops values, by name."""
        return randomness.drawing(purpose, self.training, self.seed)


class OpenRows(NamedTuple):
    """Output rows just before the last Dense of a block's feed-forward half.

    Attributes:
        residual: float[..., dim] what the Dense's output is added to.
        hidden: float[..., mlp_dim] what the Dense reads.
    """

    residual: tf.Tensor
    hidden: tf.Tensor
