"""Vectors of words from their characters: convolutions, highway layers and a projection."""

import keras
import tensorflow as tf

from mm_models.character_language_model import config as model_config
from mm_models.character_language_model.config import CharacterLanguageModelConfig
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.word_embedding import WordEmbedding
from mm_models.text.word_characters import NUM_CHARACTERS

# A gate that is not learned yet lets nearly all of its input through.
_CARRY_BIAS = 2.0


@keras.saving.register_keras_serializable("mmstack")
class HighwayLayer(SavedLayer):
    """What a gate says of a ReLU map of the input, and the rest of the input itself.

    Args:
        width: of the input.

    Call arguments:
        inputs: float[..., width].

    Returns:
        float[..., width].

    Source: Srivastava and others, Highway networks, 2015; initial values of ELMo's released code.
    """

    def __init__(self, width: int, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        normal = keras.initializers.RandomNormal(stddev=width**-0.5)
        options = {"kernel_initializer": normal, "dtype": self.dtype_policy}
        self.transform = keras.layers.Dense(width, activation="relu", name="transform", **options)
        self.gate = keras.layers.Dense(
            width,
            activation="sigmoid",
            bias_initializer=keras.initializers.Constant(-_CARRY_BIAS),
            name="gate",
            **options,
        )

    def build(self, input_shape=None):
        for layer in (self.transform, self.gate):
            layer.build((None, self.width))
        self.built = True

    def call(self, inputs):
        gate = self.gate(inputs)
        return gate * self.transform(inputs) + (1.0 - gate) * inputs


@keras.saving.register_keras_serializable("mmstack")
class WordEncoder(SavedLayer):
    """A word's vector, which depends on nothing but its characters.

    Args:
        config: CharacterLanguageModelConfig, or the dict of one.

    Call arguments:
        characters: int32[batch, words, characters] (mm_models/text/word_characters.py).

    Returns:
        float[batch, words, width].

    Source: Kim and others, Character-aware neural language models, 2016; ELMo, section 3.4.
    """

    def __init__(self, config: CharacterLanguageModelConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = model_config.as_resolved(config)
        policy, total = self.dtype_policy, sum(config.filters)
        self.characters = WordEmbedding(
            NUM_CHARACTERS,
            config.character_dim,
            initial_stddev=0.5,
            name="characters",
            dtype=policy,
        )
        # By attribute: checkpoints do not see into lists.
        for width, count in enumerate(config.filters, start=1):
            name = f"characters_{width}"
            setattr(self, name, keras.layers.Conv1D(count, width, name=name, dtype=policy))
        for number in range(config.num_highway_layers):
            name = f"highway_{number}"
            setattr(self, name, HighwayLayer(total, name=name, dtype=policy))
        self.projection = keras.layers.Dense(config.width, name="projection", dtype=policy)

    @property
    def convolutions(self) -> list[keras.layers.Conv1D]:
        """By their width."""
        return [
            getattr(self, f"characters_{width + 1}") for width in range(len(self.config.filters))
        ]

    @property
    def highways(self) -> list[HighwayLayer]:
        """From the convolutions upward."""
        return [getattr(self, f"highway_{i}") for i in range(self.config.num_highway_layers)]

    def build(self, input_shape=None):
        self.characters.build()
        for convolution in self.convolutions:
            convolution.build((None, None, self.config.character_dim))
        for layer in (*self.highways, self.projection):
            layer.build((None, sum(self.config.filters)))
        self.built = True

    def call(self, characters):
        shape = tf.shape(characters)
        # [batch, words, characters] -> [batch * words, characters, dim]
        rows = self.characters(tf.reshape(characters, [-1, characters.shape[-1]]))
        # The activations rise, so that the order of activation and maximum is all the same.
        found = [tf.reduce_max(convolve(rows), axis=1) for convolve in self.convolutions]
        words = keras.activations.get(self.config.activation)(tf.concat(found, axis=-1))
        for highway in self.highways:
            words = highway(words)
        words = self.projection(words)
        words = tf.reshape(words, [shape[0], shape[1], self.config.width])
        return tf.ensure_shape(words, [*characters.shape[:2], self.config.width])
