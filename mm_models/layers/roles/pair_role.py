"""Roles that are a mean over the codes of a token's pairs."""

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.roles.role_dictionary import RoleDictionary
from mm_models.layers.roles.role_layer import RoleLayer, placed
from mm_models.layers.roles.role_outputs import RoleReport, Roles, RoleTrace
from mm_models.layers.transformer import normalization
from mm_models.layers.transformer.heads import of_heads, split_heads


@keras.saving.register_keras_serializable("mmstack")
class PairRole(RoleLayer):
    """A code for every pair of tokens, weighted by how well it fits, and the mean over the pairs.

    The map of a pair is one of both tokens side by side: the sum of a part of each. Memory grows as
    batch x heads x queries x keys x head_dim.

    Source: R3 (`relative_role`), which averages over all tokens; `RoleOptions.masked` leaves out
    those that may not be seen, without which a decoder reads what it is to write.
    """

    remembers = ("keys",)

    def __init__(self, options, num_heads, head_dim, **kwargs):
        super().__init__(options, num_heads, head_dim, **kwargs)
        policy = self.dtype_policy
        self.pair = self._dense("pair")
        self.dictionary = RoleDictionary(
            head_dim, self.options.quantizer, name="dictionary", dtype=policy
        )
        self.norm = normalization.make_norm("layer", name="norm", dtype=policy)
        self.dropout = StatelessDropout(self.options.dropout_rate, name="dropout", dtype=policy)

    def build(self, input_shape):
        self.dim = input_shape[-1]
        self.pair.build((None, None, 2 * self.dim))
        self.dictionary.build()
        self.norm.build((None, self.head_dim))
        self.built = True

    def remember(self, memory, positions):
        """The part of every pair that is the token looked at."""
        return {"keys": self._part(memory, positions, second=True)}

    def _part(self, tokens, positions, *, second: bool):
        kernel = tf.convert_to_tensor(self.pair.kernel)
        kernel = kernel[self.dim :] if second else kernel[: self.dim]
        mapped = tf.matmul(placed(tokens, positions), tf.cast(kernel, tokens.dtype))
        return split_heads(mapped, self.num_heads)

    def bind(
        self, queries, positions, remembered, attention_mask, *, training=False, seed=None
    ) -> Roles:
        """See `RoleLayer.bind`."""
        mine, theirs = self._part(queries, positions, second=False), remembered["keys"]
        # [batch, heads, queries, keys, head_dim]
        pairs = mine[:, :, :, None] + theirs[:, :, None]
        shares = self._shares(pairs, attention_mask)
        coded, quantized = self.dictionary(
            pairs,
            counted=tf.cast(shares > 0.0, tf.float32),
            **randomness.drawing(Purpose.ROLE_CODES, training, seed),
        )
        fit = tf.cast(quantized.scores * shares, coded.dtype)
        mean = tf.einsum("bhqk,bhqkd->bhqd", fit, coded)
        roles = self.dropout(
            self.norm(mean), **randomness.drawing(Purpose.ROLE_OUTPUT, training, seed)
        )
        errors = (
            tf.reduce_sum(error * shares, axis=-1)
            for error in (quantized.codebook_error, quantized.commitment_error)
        )
        trace = RoleTrace(quantized.ids, quantized.scores, shares)
        return Roles(roles, RoleReport(*errors, quantized.use), trace)

    def _shares(self, pairs, attention_mask):
        """float32[batch, heads, queries, keys]: the part of each pair in the mean."""
        counted = tf.ones(tf.shape(pairs)[:-1])
        if attention_mask is not None and self.options.masked:
            counted *= of_heads(attention_mask)
        total = tf.reduce_sum(counted, axis=-1, keepdims=True)
        return tf.math.divide_no_nan(counted, total)
