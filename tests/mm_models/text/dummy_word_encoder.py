"""A tiny SavedModel with the contract of text encoders, whose vectors follow from words alone."""

import numpy as np
import tensorflow as tf

_BUCKETS = 1 << 20


class DummyWordEncoder(tf.Module):
    """Words are hashed to vectors; `lstm1` sums them from both ends, `lstm2` those sums again.

    So `word_emb` knows its word alone, and the forward half of a layer nothing of later words.
    """

    def __init__(self, width: int, layer_width: int | None = None):
        super().__init__()
        self._width = width
        self._layer_width = layer_width or 2 * width
        # A variable, as real encoders have them.
        factors = 2 * np.arange(width, dtype=np.int64) + 1
        self.factors = tf.Variable(factors, trainable=False)

    def _vectors(self, words: tf.Tensor) -> tf.Tensor:
        """float32[..., width] in [-1, 1) of string[...], zeros for empty ones.

        They are multiples of 1 / 512, so that sums are exact.
        """
        hashed = tf.strings.to_hash_bucket_fast(words, _BUCKETS)[..., tf.newaxis]
        values = tf.cast(hashed * self.factors % 1021 - 510, tf.float32) / 512.0
        return tf.where((words != "")[..., tf.newaxis], values, 0.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="sentences")])
    def encode_words(self, sentences):
        words = self._words(sentences)
        lengths = tf.cast(words.row_lengths(), tf.int32)
        longest = tf.maximum(tf.reduce_max(lengths), 1)
        dense = words.to_tensor("", shape=[None, None])
        dense = tf.pad(dense, [[0, 0], [0, longest - tf.shape(dense)[1]]], constant_values="")
        vectors = self._vectors(dense)
        first = self._both_ways(vectors, vectors, lengths)
        second = self._both_ways(first[..., : self._width], first[..., self._width :], lengths)
        missing = [[0, 0], [0, 0], [0, self._layer_width - 2 * self._width]]
        return {
            "word_emb": vectors,
            "lstm1": tf.pad(first, missing),
            "lstm2": tf.pad(second, missing),
            "sequence_len": lengths,
        }

    def _words(self, sentences: tf.Tensor) -> tf.RaggedTensor:
        return tf.strings.split(sentences)

    def _both_ways(self, forward, backward, lengths):
        mask = tf.sequence_mask(lengths, tf.shape(forward)[1], tf.float32)[..., tf.newaxis]
        sums = [tf.cumsum(forward, axis=1), tf.cumsum(backward, axis=1, reverse=True)]
        return tf.concat(sums, axis=-1) * mask


def write_encoder(path, width: int = 4, *, signature: str = "encode_words", **fields) -> str:
    """Writes the SavedModel. Returns its folder."""
    module = DummyWordEncoder(width, **fields)
    tf.saved_model.save(module, str(path), {signature: module.encode_words})
    return str(path)
