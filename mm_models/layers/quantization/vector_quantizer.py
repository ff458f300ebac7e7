"""Vectors as the nearest entries of a learned dictionary."""

from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.layers import randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.quantization.quantizer_options import QuantizerOptions, as_quantizer_options
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.replicas import of_first_replica, sum_over_replicas
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.tokens.word_embedding import look_up


class CodeUse(NamedTuple):
    """What a batch says of a dictionary; `VectorQuantizer.update` takes it.

    Attributes:
        counts: float32[codes] vectors that took each code.
        sums: float32[codes, dim] of those vectors; float32[0, dim] where no moving average asks.
        candidates: float32[codes, dim] vectors for codes that are not used, drawn from the batch;
            float32[0, dim] where none are restarted.
    """

    counts: tf.Tensor
    sums: tf.Tensor
    candidates: tf.Tensor


class Quantized(NamedTuple):
    """Vectors and the codes in their place.

    Attributes:
        values: float[..., dim] the codes; gradients pass to the vectors as if nothing had happened.
        ids: int32[...] of the codes.
        scores: float32[...] the cosine with the code, or minus the squared distance.
        codebook_error: float32[...] mean over `dim` of the squared difference, whose gradient moves
            the codes; 0 where they are moving averages.
        commitment_error: float32[...] the same, whose gradient moves the vectors.
        use: of the codes by this batch; None outside of training.
    """

    values: tf.Tensor
    ids: tf.Tensor
    scores: tf.Tensor
    codebook_error: tf.Tensor
    commitment_error: tf.Tensor
    use: CodeUse | None


@keras.saving.register_keras_serializable("mmstack")
class VectorQuantizer(SavedLayer):
    """A dictionary, [codes, dim], of which every vector takes one entry.

    All arithmetic is float32. State that does not follow gradients, such as moving averages, is
    moved by `update` alone, which sums over replicas.

    Args:
        options: QuantizerOptions, or the dict of one.

    Call arguments:
        vectors: float[..., dim].
        counted: float32[...], 1 for the vectors that count in `use`; None: all.
        training: bool.
        seed: int32[2], in training, for what is drawn.

    Returns:
        Quantized.

    Source: VQ-VAE; R3 for cosines and their dropout.
    """

    def __init__(self, options: QuantizerOptions | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.options = options = as_quantizer_options(options)
        self.averaged = options.learning == "moving_average"
        self.dropout = StatelessDropout(
            options.similarity_dropout_rate, name="dropout", dtype="float32"
        )

    def build(self, input_shape):
        num_codes, dim = self.options.num_codes, input_shape[-1]

        def weight(name, shape, initializer, trainable=False):
            return self.add_weight(
                name=name, shape=shape, initializer=initializer, trainable=trainable, autocast=False
            )

        self.embeddings = weight(
            "embeddings", (num_codes, dim), "glorot_normal", trainable=not self.averaged
        )
        even = keras.initializers.Constant(1.0 / num_codes)
        self.usage = weight("usage", (num_codes,), even)
        if self.averaged:
            self.average_counts = weight("average_counts", (num_codes,), "zeros")
            self.average_sums = weight("average_sums", (num_codes, dim), "zeros")
        self.built = True

    def call(self, vectors, counted=None, training=False, seed=None):
        dim, shape = vectors.shape[-1], tf.shape(vectors)[:-1]
        flat = tf.reshape(tf.cast(vectors, tf.float32), [-1, dim])
        codes = tf.convert_to_tensor(self.embeddings.value)
        similarities = self._similarities(flat, codes)
        similarities = self.dropout(
            similarities, **randomness.drawing(Purpose.CODE_SIMILARITIES, training, seed)
        )
        ids = tf.argmax(similarities, axis=-1, output_type=tf.int32)
        taken = look_up(codes, ids)
        fixed = tf.stop_gradient(taken)
        codebook_error = tf.reduce_mean(tf.square(tf.stop_gradient(flat) - taken), axis=-1)
        if self.averaged:
            codebook_error = tf.zeros_like(codebook_error)
        use = self._use(flat, ids, counted, seed) if training else None

        def shaped(values, *rest):
            return tf.reshape(values, tf.concat([shape, tf.constant(rest, tf.int32)], axis=0))

        return Quantized(
            values=shaped(tf.cast(flat + tf.stop_gradient(taken - flat), vectors.dtype), dim),
            ids=shaped(ids),
            scores=shaped(tf.gather(similarities, ids, axis=1, batch_dims=1)),
            codebook_error=shaped(codebook_error),
            commitment_error=shaped(tf.reduce_mean(tf.square(flat - fixed), axis=-1)),
            use=use,
        )

    def _similarities(self, flat, codes):
        """float32[vectors, codes]."""
        if self.options.assignment == "cosine":
            return tf.matmul(
                tf.math.l2_normalize(flat, axis=-1),
                tf.math.l2_normalize(codes, axis=-1),
                transpose_b=True,
            )
        squares = tf.reduce_sum(tf.square(flat), axis=-1, keepdims=True)
        squares += tf.reduce_sum(tf.square(codes), axis=-1)
        return 2.0 * tf.matmul(flat, codes, transpose_b=True) - squares

    def _use(self, flat, ids, counted, seed) -> CodeUse:
        flat = tf.stop_gradient(flat)
        weights = tf.ones_like(flat[:, 0]) if counted is None else tf.reshape(counted, [-1])
        # [vectors, codes]
        taken = tf.one_hot(ids, self.options.num_codes) * weights[:, None]
        nothing = tf.zeros([0, flat.shape[-1]])
        sums = tf.matmul(taken, flat, transpose_a=True) if self.averaged else nothing
        candidates = nothing
        if self.options.restart_share > 0.0:
            candidates = self._drawn(flat, weights, seed)
        return CodeUse(tf.reduce_sum(taken, axis=0), sums, candidates)

    def _drawn(self, flat, weights, seed):
        """float32[codes, dim] of the vectors that count, as many different ones as there are."""
        num_codes, num_vectors = self.options.num_codes, flat.shape[0]
        seed = randomness.fold_in(randomness.required(seed, self.name), Purpose.CODE_CANDIDATES)
        draws = (randomness.uniform([num_vectors], seed) + 1.0) * weights
        _, places = tf.math.top_k(draws, min(num_codes, num_vectors))
        return tf.gather(flat, tf.gather(places, tf.range(num_codes) % places.shape[0]))

    def update(self, use: CodeUse) -> None:
        """Moves usage and averages, and restarts codes, once for a training step of all replicas.

        Args:
            use: of this replica's batch.
        """
        counts = sum_over_replicas(use.counts)
        share = tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
        usage = self._moved(self.usage, share)
        if self.averaged:
            self._average(counts, sum_over_replicas(use.sums))
        if self.options.restart_share > 0.0:
            usage = self._restart(usage, of_first_replica(use.candidates))
        self.usage.assign(usage)

    def _moved(self, variable, value):
        decay = self.options.decay
        return variable.value * decay + value * (1.0 - decay)

    def _average(self, counts, sums) -> None:
        counts = self._moved(self.average_counts, counts)
        sums = self._moved(self.average_sums, sums)
        self.average_counts.assign(counts)
        self.average_sums.assign(sums)
        # What no vector took yet stays where it is.
        taken = counts[:, None] > 0.0
        means = sums / tf.where(taken, counts[:, None], 1.0)
        self.embeddings.assign(tf.where(taken, means, self.embeddings.value))

    def _restart(self, usage, candidates):
        num_codes = self.options.num_codes
        dead = usage < self.options.restart_share / num_codes
        fresh = tf.where(dead[:, None], candidates, self.embeddings.value)
        self.embeddings.assign(fresh)
        if self.averaged:
            one = tf.ones_like(usage)
            self.average_counts.assign(tf.where(dead, one, self.average_counts.value))
            self.average_sums.assign(tf.where(dead[:, None], fresh, self.average_sums.value))
        return tf.where(dead, 1.0 / num_codes, usage)

    def perplexity(self) -> tf.Tensor:
        """float32[]: how many codes, used alike, would have the entropy of the recent use."""
        usage = tf.convert_to_tensor(self.usage.value)
        return tf.exp(-tf.reduce_sum(tf.math.xlogy(usage, usage)))
