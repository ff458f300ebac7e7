"""From the stored numbers of one clip to tokens: which steps are kept, and where regions lie."""

import tensorflow as tf

from beam_pipelines.record import contract

NUM_COLUMNS = len(contract.POSITION_COLUMNS)


def chosen(values: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """dtype[kept, regions, width]: the kept ones of `values`, dtype[steps, regions, width]; zeros
    for the step behind the last one."""
    return tf.gather(tf.pad(values, [[0, 1], [0, 0], [0, 0]]), kept)


def numbered(positions: tf.Tensor) -> tf.Tensor:
    """float32[steps, regions, 5]: x0, x1, y0, y1 of float32[steps, regions, 4] behind the number of
    the step."""
    num_steps, num_regions = positions.shape[0], positions.shape[1]
    numbers = tf.range(num_steps, dtype=tf.float32)[:, tf.newaxis, tf.newaxis]
    numbers = tf.broadcast_to(numbers, [num_steps, num_regions, 1])
    return tf.concat([numbers, positions], axis=2)
