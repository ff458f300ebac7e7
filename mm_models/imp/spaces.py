"""The common spaces in which modalities are compared, and the temperatures of the comparison."""

import itertools

import keras
import tensorflow as tf

from mm_models import config_tools
from mm_models.errors import UserError
from mm_models.imp.config import SpaceConfig, TemperatureConfig
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer import normalization
from mm_models.layers.transformer.mlp import activation_function

RELU_OFFSET = 1e-6


@keras.saving.register_keras_serializable("mmstack")
class SpaceMap(SavedLayer):
    """Dense, tanh GELU, Dense, layer norm.

    Args:
        hidden_dim, dim: width inside and of the result.

    Call arguments:
        inputs: float[..., input dim].

    Source: the released IMP code.
    """

    def __init__(self, hidden_dim: int, dim: int, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.dim = dim
        policy = self.dtype_policy
        self.hidden = keras.layers.Dense(
            hidden_dim, activation=activation_function("gelu_tanh"), name="hidden", dtype=policy
        )
        self.dense = keras.layers.Dense(dim, name="dense", dtype=policy)
        self.layer_norm = normalization.make_norm("layer", name="layer_norm", dtype=policy)

    def build(self, input_shape):
        self.hidden.build((None, input_shape[-1]))
        self.dense.build((None, self.hidden_dim))
        self.layer_norm.build((None, self.dim))
        self.built = True

    def call(self, inputs):
        return self.layer_norm(self.dense(self.hidden(inputs)))


@keras.saving.register_keras_serializable("mmstack")
class Spaces(SavedLayer):
    """Maps of pooled rows into the common spaces.

    `disjoint`: every ordered pair of modalities, one with itself included, has a map of its own,
    `video_to_text`, so that what is compared with text need not suit sounds. `joint`: every
    modality has one, `video_joint`.

    Args:
        config: resolved SpaceConfig, or the dict of one.
        modalities: names.
        input_dim: width of the pooled rows.

    Call arguments:
        pooled: modality to float[..., input_dim].

    Returns:
        name to float32[..., config.dim], not normalised, for the modalities given.

    Source: the released IMP code.
    """

    def __init__(self, config: SpaceConfig | dict, modalities, input_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.config = config = config_tools.as_config(config, SpaceConfig)
        self.modalities = list(modalities)
        self.input_dim = input_dim
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for modality in self.modalities:
            for name in self.names_of(modality):
                layer = SpaceMap(config.hidden_dim, config.dim, name=name, dtype=self.dtype_policy)
                setattr(self, name, layer)

    def names_of(self, modality: str) -> list[str]:
        """Names of the outputs that a modality has."""
        if self.config.kind == "joint":
            return [f"{modality}_joint"]
        return [f"{modality}_to_{target}" for target in self.modalities]

    def pair(self, first: str, second: str) -> tuple[str, str]:
        """Names of the two outputs in which two modalities are compared, in the order given."""
        for modality in (first, second):
            if modality not in self.modalities:
                raise UserError(f"the model has no {modality}; it was built for {self.modalities}")
        if self.config.kind == "joint":
            return f"{first}_joint", f"{second}_joint"
        return f"{first}_to_{second}", f"{second}_to_{first}"

    def build(self, input_shape=None):
        for modality in self.modalities:
            for name in self.names_of(modality):
                getattr(self, name).build((None, self.input_dim))
        self.built = True

    def call(self, pooled):
        return {
            name: tf.cast(getattr(self, name)(rows), tf.float32)
            for modality, rows in pooled.items()
            for name in self.names_of(modality)
        }


@keras.saving.register_keras_serializable("mmstack")
class Temperatures(SavedLayer):
    """One learned temperature for every unordered pair of modalities, one with itself included.

    Args:
        config: resolved TemperatureConfig, or the dict of one.
        modalities: names.

    Source: the released IMP code for `relu`.
    """

    def __init__(self, config: TemperatureConfig | dict, modalities, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config_tools.as_config(config, TemperatureConfig)
        self.modalities = list(modalities)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every unordered pair."""
        return list(itertools.combinations_with_replacement(self.modalities, 2))

    def build(self, input_shape=None):
        for first, second in self.pairs:
            weight = self.add_weight(
                name=f"{first}_{second}",
                shape=(),
                initializer=keras.initializers.Constant(self.config.initial),
                trainable=self.config.learned,
                dtype="float32",
                autocast=False,
            )
            setattr(self, f"{first}_{second}", weight)
        self.built = True

    def value(self, first: str, second: str) -> tf.Tensor:
        """float32[] of two modalities, in either order."""
        pair = (first, second) if (first, second) in self.pairs else (second, first)
        if pair not in self.pairs:
            raise UserError(
                f"{first} and {second} have no temperature; the model has {self.modalities}"
            )
        value = tf.convert_to_tensor(getattr(self, "_".join(pair)).value)
        if self.config.kind == "relu":
            return tf.nn.relu(value) + RELU_OFFSET
        # The gradient passes as if nothing were clipped, so that a temperature that has come down
        # to the floor can rise again.
        return value + tf.stop_gradient(tf.maximum(value, self.config.floor) - value)
