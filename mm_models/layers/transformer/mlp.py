"""The feed-forward half of a transformer block."""

import keras
import tensorflow as tf

from mm_models.layers import logical_axes, randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.initializers import kernel_initializer
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer

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
class Mlp(SavedLayer):
    """Dense to `hidden_dim`, activation, dropout, Dense back to the input's width.

    Args:
        hidden_dim: width inside.
        activation: see `activation_function`.
        use_bias: biases of every Dense.
        dropout_rate: of the hidden values.
        gated: multiply what the activation gives by a second Dense of the input (`wi_0` and `wi_1`
            in the place of `wi`).
        initialization: see `initializers.kernel_initializer`.

    Call arguments:
        inputs: float[..., dim].
        training: bool.
        seed: int32[2] for dropout.

    Source: T5 1.1 for the gated form.
    """

    def __init__(
        self,
        hidden_dim: int,
        *,
        activation: str = "gelu",
        use_bias: bool = True,
        dropout_rate: float = 0.0,
        gated: bool = False,
        initialization: str = "glorot",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.use_bias = use_bias
        self.dropout_rate = dropout_rate
        self.gated = gated
        self.initialization = initialization
        for name in self._inner_names:
            setattr(self, name, self._dense(hidden_dim, name))
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=self.dtype_policy)
        self._activate = activation_function(activation)

    @property
    def _inner_names(self) -> tuple[str, ...]:
        return ("wi_0", "wi_1") if self.gated else ("wi",)

    @property
    def dense_layers(self) -> list[keras.layers.Dense]:
        """Every Dense, the last one last."""
        return [getattr(self, name) for name in (*self._inner_names, "wo")]

    def _dense(self, units, name):
        return keras.layers.Dense(
            units,
            use_bias=self.use_bias,
            kernel_initializer=kernel_initializer(self.initialization, "feed_forward"),
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        dim = input_shape[-1]
        self.wo = self._dense(dim, "wo")
        for name in self._inner_names:
            getattr(self, name).build((None, dim))
        self.wo.build((None, self.hidden_dim))
        self.built = True

    def call(self, inputs, training=False, seed=None):
        return self.wo(self.hidden(inputs, training=training, seed=seed))

    def hidden(self, inputs, training=False, seed=None):
        """float[..., hidden_dim] that the last Dense reads."""
        first, *gates = (getattr(self, name)(inputs) for name in self._inner_names)
        hidden = self._activate(first)
        for gate in gates:
            hidden *= gate
        hidden = logical_axes.split_by("mlp", hidden, hidden.shape.rank - 1)
        return self.dropout(hidden, **randomness.drawing(Purpose.MLP_HIDDEN, training, seed))
