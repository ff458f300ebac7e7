"""What a model and the decoding algorithms hand to one another."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf


class DecoderState(NamedTuple):
    """What a model keeps between steps.

    Attributes:
        cache: nested tensors with leading axis rows, which is batch * beams (times the branches of
            a sample, if it has several); every step returns them anew, in the same shapes, and beam
            search moves their rows. Whatever else grows with the sequence belongs here, beside
            keys and values.
        memory: nested tensors with leading axis batch that no step changes, such as the keys and
            values of an encoder's output; never moved, copied or tiled. None if there are none.
    """

    cache: Any
    memory: Any = None


# (ids int32[rows], position int32[], state) -> (logits float32[rows, vocab], state): `ids` stand at
# `position` of the sequence, the logits are those of the id after them.
StepFunction = Callable[[tf.Tensor, tf.Tensor, DecoderState], tuple[tf.Tensor, DecoderState]]

# (logits float32[rows, vocab], ids_so_far int32[rows, max_length], position int32[]) -> logits:
# `position` counts chosen ids, `ids_so_far[:, position:]` is 0. -inf makes an id impossible.
LogitsProcessor = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class Decoded(NamedTuple):
    """Written sequences; beam search adds an axis `beams` after batch, best first.

    Attributes:
        ids: int32[batch, max_length] without the start id, with the end id, then 0.
        scores: float32[batch] sum of log p of the ids that were chosen (forced ones do not count);
            of beam search divided by the length penalty. -inf where there is no such sequence.
        lengths: int32[batch] ids of each row, end id included.
    """

    ids: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor


def best(decoded: Decoded) -> Decoded:
    """The first beam of every row; the result of other methods as it is."""
    if len(decoded.ids.shape) == 2:
        return decoded
    return Decoded(*(value[:, 0] for value in decoded))


def log_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """float32[..., vocab] log softmax that stays -inf, not NaN, where every logit is -inf."""
    logits = tf.cast(logits, tf.float32)
    return logits - log_normalizer(logits)[..., None]


def log_normalizer(logits: tf.Tensor) -> tf.Tensor:
    """float32[...] log of the sum of exp(logits); 0 where every logit is -inf."""
    largest = tf.reduce_max(logits, axis=-1)
    largest = tf.where(tf.math.is_finite(largest), largest, 0.0)
    total = tf.reduce_sum(tf.exp(logits - largest[..., None]), axis=-1)
    return largest + tf.math.log(tf.where(total > 0.0, total, 1.0))
