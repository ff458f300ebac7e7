"""Roles that a token makes of itself."""

import keras

from mm_models.layers.roles.role_layer import RoleLayer
from mm_models.layers.roles.role_outputs import Roles
from mm_models.layers.transformer.heads import split_heads


@keras.saving.register_keras_serializable("mmstack")
class SelfRole(RoleLayer):
    """A map of the token, as in the TP-Transformer.

    Source: R3 (`self_role`).
    """

    def __init__(self, options, num_heads, head_dim, **kwargs):
        super().__init__(options, num_heads, head_dim, **kwargs)
        self.role = self._dense("role")

    def build(self, input_shape):
        self.role.build(input_shape)
        self.built = True

    def bind(
        self, queries, positions, remembered, attention_mask, *, training=False, seed=None
    ) -> Roles:
        """See `RoleLayer.bind`; positions and what is looked at do not matter."""
        return Roles(split_heads(self.role(queries), self.num_heads))
