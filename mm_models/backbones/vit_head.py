"""Attention pooling: a learned probe looks at all tokens of an image."""

import keras
import tensorflow as tf

from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer import normalization
from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.mlp import Mlp


@keras.saving.register_keras_serializable("mmstack")
class MapHead(SavedLayer):
    """x = attention(probe, tokens), then x + mlp(norm(x)).

    Args:
        mlp_dim: width inside the feed-forward half.
        num_heads: attention heads.
        activation: see `mm_models.layers.transformer.mlp`.
        epsilon: of the normalisation.

    Call arguments:
        tokens: float[batch, tokens, dim].

    Returns:
        float[batch, dim].

    Source: big_vision (MAP head).
    """

    def __init__(
        self,
        mlp_dim: int,
        num_heads: int,
        activation: str = "gelu_tanh",
        epsilon: float = normalization.EPSILON,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mlp_dim = mlp_dim
        self.num_heads = num_heads
        self.activation = activation
        self.epsilon = epsilon

    def build(self, input_shape):
        dim, policy = input_shape[-1], self.dtype_policy
        self.probe = self.add_weight(name="probe", shape=(1, 1, dim), initializer="glorot_uniform")
        self.attention = MultiHeadAttention(
            self.num_heads, dim // self.num_heads, name="attention", dtype=policy
        )
        self.norm = normalization.make_norm(
            "layer", name="norm", dtype=policy, epsilon=self.epsilon
        )
        self.mlp = Mlp(self.mlp_dim, activation=self.activation, name="mlp", dtype=policy)
        for layer in (self.attention, self.norm, self.mlp):
            layer.build((None, None, dim))
        self.built = True

    def call(self, tokens):
        probe = tf.cast(tf.convert_to_tensor(self.probe), tokens.dtype)
        probes = tf.tile(probe, [tf.shape(tokens)[0], 1, 1])
        pooled = self.attention(probes, memory=tokens)
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]
