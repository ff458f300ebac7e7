"""The learned token whose output stands for the whole sequence."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("mmstack")
class AggregateToken(keras.layers.Layer):
    """Puts one learned vector in front of every sequence, so that row 0 can pool the others (AGG).

    Call arguments:
        tokens: float[batch, tokens, dim].

    Returns:
        float[batch, 1 + tokens, dim].

    Source: VATT, section 3.2.
    """

    def build(self, input_shape):
        dim = input_shape[-1]
        self.embedding = self.add_weight(
            name="embedding",
            shape=(dim,),
            # Glorot normal for a vector: fan in and fan out are both its width.
            initializer=keras.initializers.TruncatedNormal(stddev=(1.0 / dim) ** 0.5 / 0.8796),
        )
        self.built = True

    def call(self, tokens):
        row = tf.cast(tf.convert_to_tensor(self.embedding), tokens.dtype)[None, None]
        return tf.concat([tf.tile(row, [tf.shape(tokens)[0], 1, 1]), tokens], axis=1)


def extend_mask(mask):
    """[batch, tokens] -> [batch, 1 + tokens]: the aggregate token in front is always seen."""
    return tf.concat([tf.ones_like(mask[:, :1]), mask], axis=1)
