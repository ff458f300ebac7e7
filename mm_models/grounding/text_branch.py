"""Words and sentences of a frozen text encoder, in the common space."""

import keras
import tensorflow as tf

from mm_models.contracts import EmbeddedSentences
from mm_models.grounding.config import GroundingConfig
from mm_models.grounding.mapping import DenseMap
from mm_models.layers.saved_layer import SavedLayer

NUM_LAYERS = 3


@keras.saving.register_keras_serializable("mmstack")
class LayerMix(SavedLayer):
    """A weighted sum of the layers of a text encoder.

    Args:
        num_layers: that are mixed.
        softmax: whether weights are positive and add up to 1; otherwise they are free, each 1 /
            layers at first.
        gain: multiply the sum by a number that is learned.
        bias: add one.

    Call arguments:
        layers: float32[..., layers, width].

    Returns:
        float32[..., width].

    Source: ELMo, equation 1.
    """

    def __init__(
        self,
        num_layers: int,
        softmax: bool = True,
        gain: bool = False,
        bias: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_layers, self.softmax, self.gain, self.bias = num_layers, softmax, gain, bias

    def build(self, input_shape=None):
        if self.built:
            return
        start = "zeros" if self.softmax else keras.initializers.Constant(1.0 / self.num_layers)
        self.shares = self.add_weight(name="shares", shape=(self.num_layers,), initializer=start)
        if self.gain:
            self.factor = self.add_weight(name="factor", shape=(), initializer="ones")
        if self.bias:
            self.offset = self.add_weight(name="offset", shape=(), initializer="zeros")
        self.built = True

    def call(self, layers):
        shares = tf.cast(self.shares, tf.float32)
        if self.softmax:
            shares = tf.nn.softmax(shares)
        mixed = tf.einsum("...lw,l->...w", tf.cast(layers, tf.float32), shares)
        if self.gain:
            mixed *= tf.cast(self.factor, tf.float32)
        return mixed + tf.cast(self.offset, tf.float32) if self.bias else mixed


class TextBranch(keras.layers.Layer):
    """Layers of a frozen text encoder to unit vectors of words and of the sentence.

    Args:
        config: resolved GroundingConfig; `text` says what of the encoder is used.

    Call arguments:
        layers: float32[batch, words, 3, 2 * word_width]: words alone, twice side by side, then two
            contextual layers, each read forward in its first half and backward in its second.
        word_mask: float32[batch, words] 1 for real words, which come first.

    Returns:
        EmbeddedSentences of length 1, also where no word is.

    Source: Akbari and others, section 3; its released code for the mixed layers.
    """

    def __init__(self, config: GroundingConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._config = config
        width = 2 * config.word_width
        maps = {
            "widths": config.text_widths,
            "normalize_each": config.normalize == "each",
            "leaky_slope": config.leaky_slope,
            "dtype": self.dtype_policy,
        }
        if config.text == "contextual":
            self.word_mix = LayerMix(NUM_LAYERS, gain=config.gain, name="word_mix")
            self.sentence_mix = LayerMix(NUM_LAYERS - 1, softmax=False, name="sentence_mix")
        elif config.text == "recurrent":
            self.recurrent = keras.layers.Bidirectional(
                keras.layers.LSTM(config.word_width, return_sequences=True),
                name="recurrent",
                dtype="float32",
            )
            self.word_mix = LayerMix(2, softmax=False, bias=True, name="word_mix")
        self.word_map = DenseMap(width, name="word_map", **maps)
        self.sentence_map = DenseMap(width, name="sentence_map", **maps)

    def build(self, input_shape=None):
        if self.built:
            return
        for name in ("word_mix", "sentence_mix", "word_map", "sentence_map"):
            if hasattr(self, name):
                getattr(self, name).build()
        if self._config.text == "recurrent":
            self.recurrent.build((None, None, self._config.word_width))
        self.built = True

    def call(self, layers, word_mask) -> EmbeddedSentences:
        layers = tf.cast(layers, tf.float32)
        words, sentence = getattr(self, f"_{self._config.text}")(layers, word_mask)
        return EmbeddedSentences(self.word_map(words), self.sentence_map(sentence))

    def _contextual(self, layers, word_mask):
        ends = both_ends(layers[:, :, 1:], word_mask)  # [batch, layers, width]
        return self.word_mix(layers), self.sentence_mix(ends)

    def _recurrent(self, layers, word_mask):
        width = self._config.word_width
        read = self.recurrent(layers[:, :, 0, :width], mask=word_mask > 0)
        stack = tf.stack([layers[:, :, 0], read], axis=2)
        return self.word_mix(stack), both_ends(read, word_mask)

    def _plain(self, layers, word_mask):
        words = layers[:, :, 0]
        total = tf.reduce_sum(words * word_mask[..., tf.newaxis], axis=1)
        count = tf.reduce_sum(word_mask, axis=1, keepdims=True)
        return words, tf.math.divide_no_nan(total, count)


def both_ends(read: tf.Tensor, word_mask: tf.Tensor) -> tf.Tensor:
    """What was read backward up to the first word beside what was read forward up to the last.

    Args:
        read: float32[batch, words, ..., width], forward in its first half, backward in the second.
        word_mask: float32[batch, words] 1 for real words, which come first.

    Returns:
        float32[batch, ..., width].
    """
    forward, backward = tf.split(read, 2, axis=-1)
    places = tf.range(word_mask.shape[1], dtype=tf.float32)
    last = tf.maximum(tf.reduce_sum(word_mask, axis=1, keepdims=True) - 1.0, 0.0)
    is_last = tf.cast(places == last, tf.float32)  # [batch, words]
    return tf.concat([backward[:, 0], tf.einsum("bw,bw...->b...", is_last, forward)], axis=-1)
