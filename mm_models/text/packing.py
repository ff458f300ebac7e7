"""Several examples of text in one row, told apart by segment numbers.

Source: T5's packing of examples, seqio.
"""

import tensorflow as tf

from mm_models.text.span_corruption import compact


def pack(inputs: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
    """Puts the examples of each row one behind the other, as far as both sides fit.

    An example goes in whole or not at all; those behind the first one that does not fit are left
    out, so that a row is the beginning of its list.

    Args:
        inputs: int32[batch, examples, input tokens], zeros behind each example.
        targets: int32[batch, examples, target tokens].

    Returns:
        `inputs: int32[batch, input tokens]` and `targets: int32[batch, target tokens]`, with
        `input_segments` and `target_segments` in their shapes (1, 2, ... and 0 for padding; equal
        numbers belong together) and `input_positions` and `target_positions` (from 0 in each
        segment).
    """
    sides = {"input": inputs, "target": targets}
    fits = tf.constant(True)
    for ids in sides.values():
        ends = tf.cumsum(tf.reduce_sum(tf.cast(ids != 0, tf.int32), axis=2), axis=1)
        fits = tf.logical_and(fits, ends <= ids.shape[2])
    rows = {}
    for name, ids in sides.items():
        kept = tf.logical_and(ids != 0, fits[:, :, tf.newaxis])
        rows |= _row(name, ids, kept)
    return rows


def _row(name: str, ids: tf.Tensor, kept: tf.Tensor) -> dict[str, tf.Tensor]:
    _, count, width = ids.shape
    segments = tf.range(1, count + 1)[:, tf.newaxis] + tf.zeros([1, width], tf.int32)
    positions = tf.zeros([count, 1], tf.int32) + tf.range(width)
    values = {
        f"{name}s": ids,
        f"{name}_segments": tf.broadcast_to(segments, tf.shape(ids)),
        f"{name}_positions": tf.broadcast_to(positions, tf.shape(ids)),
    }
    flat = tf.reshape(kept, [-1, count * width])
    return {
        key: compact(tf.reshape(value, [-1, count * width]), flat, width)
        for key, value in values.items()
    }
