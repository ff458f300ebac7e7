"""Look-up of word vectors, frozen or learned."""

import keras
import tensorflow as tf

from mm_models.layers import logical_axes
from mm_models.layers.saved_layer import SavedLayer


@tf.custom_gradient
def look_up(table, ids):
    """Rows `ids: int32[...]` of `table: float[rows, dim]`, as float[..., dim]."""

    def gradient(upstream):
        num_rows, dim = table.shape
        flat = tf.reshape(upstream, [-1, dim])
        # Dense on purpose: clipping, accumulation and reduction then see one kind of gradient.
        return tf.math.unsorted_segment_sum(flat, tf.reshape(ids, [-1]), num_rows), None

    return tf.gather(table, ids), gradient


@keras.saving.register_keras_serializable("mmstack")
class WordEmbedding(SavedLayer):
    """A table of word vectors; only the rows that are read are cast to the compute type.

    Args:
        vocabulary_size: rows.
        dim: width of a vector.
        trainable: whether the table is learned, or stays as loaded.
        initial_stddev: of the vectors at the start; null takes the root of 1 / dim.
        truncated: draw those again that are farther than two deviations from 0.

    Call arguments:
        ids: int32[...].

    Returns:
        float[..., dim].
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int,
        initial_stddev: float | None = None,
        truncated: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.dim = dim
        self.initial_stddev = initial_stddev
        self.truncated = truncated

    def build(self, input_shape=None):
        normal = keras.initializers.RandomNormal
        if self.truncated:
            normal = keras.initializers.TruncatedNormal
        stddev = self.dim**-0.5 if self.initial_stddev is None else self.initial_stddev
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.vocabulary_size, self.dim),
            initializer=normal(stddev=stddev),
            trainable=self.trainable,
            autocast=False,
        )
        self.built = True

    def call(self, ids):
        table = tf.convert_to_tensor(self.embeddings.value)
        vectors = look_up(table, ids) if self.trainable else tf.gather(table, ids)
        return logical_axes.whole(tf.cast(vectors, self.compute_dtype))
