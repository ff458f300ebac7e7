"""Cross-entropy of every token of a sequence, for teacher-forced decoders."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from mm_models.layers.transformer.rematerialization import recompute


class SequenceTerms(NamedTuple):
    """Sums over the tokens that count, by row, before any reduction over rows or replicas.

    Attributes:
        loss: float32[batch] cross-entropy and z-loss.
        z_loss: float32[batch] the latter alone, times its weight.
        hits: float32[batch] tokens whose logit was the largest.
        weight: float32[batch] tokens that count.
    """

    loss: tf.Tensor
    z_loss: tf.Tensor
    hits: tf.Tensor
    weight: tf.Tensor


def token_terms(
    logits: tf.Tensor,
    targets: tf.Tensor,
    mask: tf.Tensor,
    *,
    z_loss_weight: float = 0.0,
    label_smoothing: float = 0.0,
) -> SequenceTerms:
    """Cross-entropy, plus `z_loss_weight` times the square of the log of the normaliser.

    The second part keeps logits near log probabilities, where bfloat16 has digits for them.

    Args:
        logits: float[batch, tokens, vocab].
        targets: int32[batch, tokens].
        mask: float32[batch, tokens], 1 for the tokens that count.
        z_loss_weight: 1e-4 in T5X.
        label_smoothing: share of a target that is spread evenly over the other tokens; the entropy
            of the smoothed target is taken off, so that 0 remains the least loss.

    Source: T5X; PaLI, section 3.
    """
    logits = tf.cast(logits, tf.float32)
    normalizer = tf.reduce_logsumexp(logits, axis=-1)
    chosen = tf.gather(logits, targets, axis=2, batch_dims=2)
    cross_entropy = normalizer - chosen
    if label_smoothing:
        cross_entropy = _smoothed(logits, normalizer, chosen, label_smoothing)
    z_loss = z_loss_weight * tf.square(normalizer)
    right = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == targets, tf.float32)
    return SequenceTerms(
        *(
            tf.reduce_sum(values * mask, axis=1)
            for values in (cross_entropy + z_loss, z_loss, right, tf.ones_like(mask))
        )
    )


def _smoothed(logits, normalizer, chosen, smoothing: float) -> tf.Tensor:
    """float32[batch, tokens] cross-entropy against smoothed targets, less its least value."""
    vocabulary_size = logits.shape[-1]
    confidence, low = 1.0 - smoothing, smoothing / (vocabulary_size - 1)
    every = tf.reduce_sum(logits, axis=-1)
    expected = low * every + (confidence - low) * chosen
    least = confidence * tf.math.log(confidence) + smoothing * tf.math.log(low)
    return normalizer - expected + least


def chunked_token_terms(
    hidden: tf.Tensor,
    logits_of: Callable[[tf.Tensor], tf.Tensor],
    targets: tf.Tensor,
    mask: tf.Tensor,
    *,
    num_chunks: int = 1,
    **options: float,
) -> SequenceTerms:
    """`token_terms` without holding the logits of all tokens at once.

    Tokens are cut into `num_chunks` stretches; the logits of one are computed, reduced and
    forgotten, and computed again in the backward pass.

    Args:
        hidden: float[batch, tokens, width].
        logits_of: float[batch, some tokens, width] to logits.
        targets: int32[batch, tokens].
        mask: float32[batch, tokens], 1 for the tokens that count.
        num_chunks: 1 keeps the logits; more must divide the tokens.
        options: of `token_terms`.
    """
    if num_chunks == 1:
        return token_terms(logits_of(hidden), targets, mask, **options)
    pieces = zip(
        *(tf.split(values, num_chunks, axis=1) for values in (hidden, targets, mask)), strict=True
    )
    parts = [_forgetful(logits_of, *piece, **options) for piece in pieces]
    return SequenceTerms(*(tf.add_n(values) for values in zip(*parts, strict=True)))


def _forgetful(logits_of, hidden, targets, mask, **options) -> SequenceTerms:
    return recompute(lambda some: token_terms(logits_of(some), targets, mask, **options), hidden)
