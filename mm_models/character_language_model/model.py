"""A language model in both directions that reads words by their characters."""

from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.character_language_model import config as model_config
from mm_models.character_language_model.config import CharacterLanguageModelConfig
from mm_models.character_language_model.recurrent import DirectedLstm
from mm_models.character_language_model.word_encoder import WordEncoder
from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer


class WordLayers(NamedTuple):
    """What the model says of every row of a sentence; zeros behind the sentence.

    Attributes:
        word_emb: float[batch, rows, width], which depends on the word alone.
        lstm1, lstm2: float[batch, rows, 2 * width] of the two layers, what was read forward and
            then what was read backward.
        mask: float32[batch, rows], 1 for the rows of the sentence, its begin and end among them.
    """

    word_emb: tf.Tensor
    lstm1: tf.Tensor
    lstm2: tf.Tensor
    mask: tf.Tensor


@keras.saving.register_keras_serializable("mmstack")
class WordSoftmax(SavedLayer):
    """Logits of words, in float32 whatever the policy.

    Args:
        vocabulary_size: words.
        width: of what is read.

    Call arguments:
        hidden: float[batch, rows, width].

    Returns:
        float32[batch, rows, vocabulary].
    """

    def __init__(self, vocabulary_size: int, width: int, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.vocabulary_size, self.width = vocabulary_size, width

    def build(self, input_shape=None):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.vocabulary_size, self.width),
            initializer=keras.initializers.RandomNormal(stddev=self.width**-0.5),
        )
        self.bias = self.add_weight(name="bias", shape=(self.vocabulary_size,), initializer="zeros")
        self.built = True

    def call(self, hidden):
        kernel = tf.convert_to_tensor(self.kernel.value)
        product = tf.einsum("brw,vw->brv", tf.cast(hidden, tf.float32), kernel)
        return product + tf.convert_to_tensor(self.bias.value)


@keras.saving.register_keras_serializable("mmstack")
class CharacterLanguageModel(SavedLayer, keras.Model):
    """Words by their characters, two layers of LSTM in each direction, one softmax for both.

    Every weight exists once the constructor returns.

    Args:
        config: CharacterLanguageModelConfig, or the dict of one.

    Call arguments:
        inputs: `characters` int32[batch, rows, characters], sentences with the rows that begin and
            end them (mm_models/text/word_characters.py); rows of zeros are padding.
        training: bool.
        seed: int32[2] for dropout.

    Returns:
        float32[batch, 2, rows, vocabulary]: logits of the word behind each row, and of the one in
        front of it.

    Source: Peters and others, Deep contextualized word representations (ELMo), 2018, section 3.
    """

    def __init__(self, config: CharacterLanguageModelConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = model_config.as_resolved(config)
        policy = self.dtype_policy
        self.words = WordEncoder(config, name="words", dtype=policy)
        self.forward = self._direction("forward", backwards=False)
        self.backward = self._direction("backward", backwards=True)
        self.dropout = StatelessDropout(config.dropout_rate, name="dropout", dtype=policy)
        self.softmax = WordSoftmax(config.vocabulary_size, config.width, name="softmax")
        for layer in (self.words, self.forward, self.backward, self.softmax):
            layer.build()
        self.built = True

    def _direction(self, name: str, *, backwards: bool) -> DirectedLstm:
        config = self.config
        return DirectedLstm(
            *(config.width, config.cells, config.dropout_rate),
            backwards=backwards,
            name=name,
            dtype=self.dtype_policy,
        )

    def call(self, inputs, training=False, seed=None):
        layers = self.read(inputs["characters"], training=training, seed=seed)
        directions = self.hidden(layers, training=training, seed=seed)
        return tf.stack([self.logits(hidden) for hidden in directions], axis=1)

    def read(self, characters, training=False, seed=None) -> WordLayers:
        """What every layer says of `characters: int32[batch, rows, characters]`."""
        present = tf.reduce_any(characters != 0, axis=-1)
        word_emb = self.words(characters)
        drawing = randomness.drawing(Purpose.READ_FORWARD, training, seed)
        ahead = self.forward(word_emb, present, **drawing)
        drawing = randomness.drawing(Purpose.READ_BACKWARD, training, seed)
        back = self.backward(word_emb, present, **drawing)
        # [batch, rows, 2 * width]
        both = [tf.concat(pair, axis=-1) for pair in zip(ahead, back, strict=True)]
        mask = tf.cast(present, tf.float32)
        kept = tf.cast(mask, word_emb.dtype)[..., tf.newaxis]
        return WordLayers(word_emb * kept, both[0] * kept, both[1] * kept, mask)

    def hidden(self, layers: WordLayers, training=False, seed=None) -> list[tf.Tensor]:
        """float[batch, rows, width] for each direction: what the softmax reads."""
        drawing = randomness.drawing(Purpose.CLASSIFIER_INPUT, training, seed)
        return tf.split(self.dropout(layers.lstm2, **drawing), 2, axis=-1)

    def logits(self, hidden) -> tf.Tensor:
        """float32[batch, rows, vocabulary] of `hidden: float[batch, rows, width]`."""
        return self.softmax(hidden)
