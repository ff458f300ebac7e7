"""Roles that are codes of what a token attends to."""

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.roles.role_dictionary import RoleDictionary
from mm_models.layers.roles.role_layer import RoleLayer, placed
from mm_models.layers.roles.role_outputs import Roles, RoleTrace, report_of
from mm_models.layers.transformer import normalization
from mm_models.layers.transformer.heads import attention_weights, split_heads


@keras.saving.register_keras_serializable("mmstack")
class AttendedRole(RoleLayer):
    """An attention of its own, over tokens and where they are, whose result becomes a code.

    Its scores are neither scaled nor biased, and its queries, keys and values all have positions
    added.

    Source: R3 (`attn_relative_role`).
    """

    remembers = ("keys", "values")

    def __init__(self, options, num_heads, head_dim, **kwargs):
        super().__init__(options, num_heads, head_dim, **kwargs)
        policy = self.dtype_policy
        self.q = self._dense("q", "query")
        self.k, self.v = self._dense("k"), self._dense("v")
        self.dictionary = RoleDictionary(
            head_dim, self.options.quantizer, name="dictionary", dtype=policy
        )
        self.norm = normalization.make_norm("layer", name="norm", dtype=policy)
        self.dropout = StatelessDropout(self.options.dropout_rate, name="dropout", dtype=policy)

    def build(self, input_shape):
        for layer in (self.q, self.k, self.v):
            layer.build(input_shape)
        self.dictionary.build()
        self.norm.build((None, self.head_dim))
        self.built = True

    def remember(self, memory, positions):
        """Keys and values of the tokens where they are."""
        memory = placed(memory, positions)
        return {
            "keys": split_heads(self.k(memory), self.num_heads),
            "values": split_heads(self.v(memory), self.num_heads),
        }

    def bind(
        self, queries, positions, remembered, attention_mask, *, training=False, seed=None
    ) -> Roles:
        """See `RoleLayer.bind`."""
        queries = split_heads(self.q(placed(queries, positions)), self.num_heads)
        weights = attention_weights(queries, remembered["keys"], attention_mask)
        values = remembered["values"]
        dropped = self.dropout(
            tf.cast(weights, values.dtype),
            **randomness.drawing(Purpose.ROLE_WEIGHTS, training, seed),
        )
        # [batch, heads, queries, head_dim]
        states = tf.matmul(dropped, values)
        coded, quantized = self.dictionary(
            states, **randomness.drawing(Purpose.ROLE_CODES, training, seed)
        )
        roles = self.dropout(
            self.norm(coded), **randomness.drawing(Purpose.ROLE_OUTPUT, training, seed)
        )
        trace = RoleTrace(quantized.ids, quantized.scores, weights)
        return Roles(roles, report_of(quantized), trace)
