"""The feed-forward half of a transformer block."""

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout

ACTIVATIONS = {
    "gelu": lambda values: tf.nn.gelu(values, approximate=False),
    "gelu_tanh": lambda values: tf.nn.gelu(values, approximate=True),
    "relu": tf.nn.relu,
}


def activation_function(name: str):
    """The function behind a name: `gelu` (exact, erf), `gelu_tanh` or `relu`.

    Raises:
        ValueError: unknown name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, not {name!r}")
    return ACTIVATIONS[name]


@keras.saving.register_keras_serializable("mmstack")
class Mlp(keras.layers.Layer):
    """Dense to `hidden_dim`, activation, dropout, Dense back to the input's width.

    Call arguments:
        inputs: float[..., dim].
        training: bool.
        seed: int32[2] for dropout.
    """

    def __init__(
        self,
        hidden_dim: int,
        *,
        activation: str = "gelu",
        use_bias: bool = True,
        dropout_rate: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.use_bias = use_bias
        self.dropout_rate = dropout_rate
        self.wi = keras.layers.Dense(
            hidden_dim, use_bias=use_bias, name="wi", dtype=self.dtype_policy
        )
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=self.dtype_policy)
        self._activate = activation_function(activation)

    def build(self, input_shape):
        dim = input_shape[-1]
        self.wo = keras.layers.Dense(
            dim, use_bias=self.use_bias, name="wo", dtype=self.dtype_policy
        )
        self.wi.build((None, dim))
        self.wo.build((None, self.hidden_dim))
        self.built = True

    def call(self, inputs, training=False, seed=None):
        return self.wo(self.hidden(inputs, training=training, seed=seed))

    def hidden(self, inputs, training=False, seed=None):
        """float[..., hidden_dim] that the last Dense reads."""
        return self.dropout(
            self._activate(self.wi(inputs)),
            training=training,
            seed=randomness.fold_in_optional(seed, "hidden"),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "dropout_rate": self.dropout_rate,
        }
