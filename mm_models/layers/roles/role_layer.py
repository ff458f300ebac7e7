"""What attention asks of whatever makes its roles."""

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

import keras
import tensorflow as tf

from mm_models.layers.initializers import kernel_initializer
from mm_models.layers.roles.role_options import RoleOptions, as_role_options
from mm_models.layers.roles.role_outputs import Roles
from mm_models.layers.saved_layer import SavedLayer


class RoleLayer(SavedLayer, abc.ABC):
    """Makes roles of tokens.

    What it needs of the tokens that others look at comes from `remember`, so that a decoder can
    keep it between steps, beside keys and values.

    Args:
        options: RoleOptions, or the dict of one.
        num_heads, head_dim: of the attention.

    Attributes:
        remembers: names of what `remember` gives.
    """

    remembers: ClassVar[Sequence[str]] = ()

    def __init__(self, options: RoleOptions | dict, num_heads: int, head_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.options = as_role_options(options)
        self.num_heads = num_heads
        self.head_dim = head_dim

    def _dense(self, name: str, role: str = "attention") -> keras.layers.Dense:
        """A map to all heads; `role` as of `kernel_initializer`: scores of roles are not scaled, as
        T5's are not, so their queries have to start as small."""
        return keras.layers.Dense(
            self.num_heads * self.head_dim,
            use_bias=False,
            kernel_initializer=kernel_initializer("t5x", role, self.head_dim),
            name=name,
            dtype=self.dtype_policy,
        )

    def remember(self, memory: tf.Tensor, positions: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """What `bind` needs of the tokens that are looked at.

        Args:
            memory: float[batch, keys, dim].
            positions: float[1 or batch, keys, dim] that say where they are, or None.

        Returns:
            float[batch, heads, keys, head_dim] by name.
        """
        return {}

    @abc.abstractmethod
    def bind(
        self,
        queries: tf.Tensor,
        positions: tf.Tensor | None,
        remembered: Mapping[str, tf.Tensor],
        attention_mask: tf.Tensor | None,
        *,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> Roles:
        """The roles of tokens.

        Args:
            queries: float[batch, queries, dim].
            positions: float[1 or batch, queries, dim] that say where they are, or None.
            remembered: of the tokens that they look at.
            attention_mask: [batch, keys] or [batch, queries, keys], 1 where one may be seen.
            training: bool.
            seed: int32[2].
        """


def placed(tokens: tf.Tensor, positions: tf.Tensor | None) -> tf.Tensor:
    """Tokens with their positions added."""
    return tokens if positions is None else tokens + tf.cast(positions, tokens.dtype)
