"""The learned token whose output stands for the whole sequence."""

import keras
import tensorflow as tf

from mm_models.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable("mmstack")
class AggregateToken(SavedLayer):
    """Puts one learned vector in front of every sequence, so that row 0 can pool the others (AGG).

    Args:
        initializer: of the vector; None: Glorot normal.
        has_position: add a learned position to it, as some checkpoints keep one beside it.

    Call arguments:
        tokens: float[batch, tokens, dim].

    Returns:
        float[batch, 1 + tokens, dim].

    Source: VATT, section 3.2.
    """

    def __init__(self, initializer: str | None = None, has_position: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.initializer = initializer
        self.has_position = has_position

    def build(self, input_shape):
        dim = input_shape[-1]
        # Glorot normal for a vector: fan in and fan out are both its width.
        glorot = keras.initializers.TruncatedNormal(stddev=(1.0 / dim) ** 0.5 / 0.8796)
        self.embedding = self.add_weight(
            name="embedding", shape=(dim,), initializer=self.initializer or glorot
        )
        if self.has_position:
            self.position = self.add_weight(
                name="position",
                shape=(dim,),
                initializer=keras.initializers.RandomNormal(stddev=dim**-0.5),
            )
        self.built = True

    def call(self, tokens):
        row = tf.convert_to_tensor(self.embedding)
        if self.has_position:
            row += tf.convert_to_tensor(self.position)
        row = tf.cast(row, tokens.dtype)[None, None]
        return tf.concat([tf.tile(row, [tf.shape(tokens)[0], 1, 1]), tokens], axis=1)


def extend_mask(mask):
    """[batch, tokens] -> [batch, 1 + tokens]: the aggregate token in front is always seen."""
    return tf.concat([tf.ones_like(mask[:, :1]), mask], axis=1)
