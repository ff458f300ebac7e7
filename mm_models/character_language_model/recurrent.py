"""Two layers of LSTM that read a sentence in one direction."""

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.saved_layer import SavedLayer

NUM_LAYERS = 2


@keras.saving.register_keras_serializable("mmstack")
class ProjectedLstmCell(SavedLayer):
    """A cell of LSTM whose output is a map of its cells.

    Args:
        cells: of the state.
        width: of the output, which the next step reads.

    Call arguments:
        inputs: float[batch, input width].
        states: float[batch, width] the output and float[batch, cells] the cells of the step before.

    Returns:
        The output, and the two states behind it.

    Source: Sak and others, Long short-term memory recurrent neural network architectures for large
    scale acoustic modeling, 2014.
    """

    def __init__(self, cells: int, width: int, **kwargs):
        super().__init__(**kwargs)
        self.cells, self.width = cells, width
        self.state_size, self.output_size = [width, cells], width

    def build(self, input_shape):
        glorot, orthogonal = keras.initializers.GlorotUniform(), keras.initializers.Orthogonal()
        gates = 4 * self.cells
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], gates), initializer=glorot
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.width, gates), initializer=orthogonal
        )
        self.bias = self.add_weight(name="bias", shape=(gates,), initializer=self._first_bias)
        self.projection = self.add_weight(
            name="projection", shape=(self.cells, self.width), initializer=glorot
        )
        self.built = True

    def _first_bias(self, shape, dtype=None):
        """Ones of the gates that forget, zeros of the others."""
        zeros, ones = tf.zeros([self.cells], dtype), tf.ones([self.cells], dtype)
        return tf.concat([zeros, ones, zeros, zeros], axis=0)

    def call(self, inputs, states, training=False):
        before, cells = states
        gates = inputs @ self.kernel + before @ self.recurrent_kernel + self.bias
        taken, kept, new, shown = tf.split(gates, 4, axis=-1)
        cells = tf.sigmoid(kept) * cells + tf.sigmoid(taken) * tf.tanh(new)
        output = (tf.sigmoid(shown) * tf.tanh(cells)) @ self.projection
        return output, [output, cells]


@keras.saving.register_keras_serializable("mmstack")
class DirectedLstm(SavedLayer):
    """Two layers of LSTM, of which the second adds what it reads to what it says.

    Args:
        width: of a word's vector, and of the output of each layer.
        cells: of a layer.
        dropout_rate: of what a layer reads.
        backwards: whether sentences are read from their ends.

    Call arguments:
        words: float[batch, words, width].
        present: bool[batch, words], true for the words of the sentence, which stand in front.
        training: bool.
        seed: int32[2] for dropout.

    Returns:
        float[batch, words, width] of each layer, zeros behind the sentence. What stands at a word
        follows from it and what was read before it.

    Source: ELMo, section 3.4.
    """

    def __init__(self, width: int, cells: int, dropout_rate: float, backwards: bool, **kwargs):
        super().__init__(**kwargs)
        self.width, self.cells = width, cells
        self.dropout_rate, self.backwards = dropout_rate, backwards
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=self.dtype_policy)
        for number in range(NUM_LAYERS):
            # By attribute: checkpoints do not see into lists.
            name = f"layer_{number}"
            setattr(self, name, self._recurrent(name))

    @property
    def recurrent_layers(self) -> list[keras.layers.RNN]:
        """From the words upward."""
        return [getattr(self, f"layer_{number}") for number in range(NUM_LAYERS)]

    def _recurrent(self, name: str) -> keras.layers.RNN:
        return keras.layers.RNN(
            self._cell(), return_sequences=True, name=name, dtype=self.dtype_policy
        )

    def _cell(self) -> keras.layers.Layer:
        if self.cells == self.width:
            return keras.layers.LSTMCell(self.cells, name="cell", dtype=self.dtype_policy)
        return ProjectedLstmCell(self.cells, self.width, name="cell", dtype=self.dtype_policy)

    def build(self, input_shape=None):
        for layer in self.recurrent_layers:
            layer.build((None, None, self.width))
        self.built = True

    def call(self, words, present, training=False, seed=None):
        # In the order of reading too, padding stands behind the words, which it cannot reach.
        lengths = tf.reduce_sum(tf.cast(present, tf.int32), axis=1)
        words = self._in_order(words, lengths)
        kept = tf.cast(present, words.dtype)[..., tf.newaxis]
        outputs = []
        for number, layer in enumerate(self.recurrent_layers):
            drawing = randomness.drawing(number, training, seed)
            said = layer(self.dropout(words, **drawing)) * kept
            words = said + words if number else said
            outputs.append(self._in_order(words, lengths))
        return outputs

    def _in_order(self, words, lengths):
        """Turns what is read backwards round, as far as sentences go; twice is not at all."""
        if not self.backwards:
            return words
        return tf.reverse_sequence(words, lengths, seq_axis=1)
