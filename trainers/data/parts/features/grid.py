"""From the stored numbers of one clip to tokens: which steps are kept, and where regions lie."""

import tensorflow as tf

from beam_pipelines.record import contract

NUM_COLUMNS = len(contract.POSITION_COLUMNS)


def kept_steps(count: tf.Tensor, num_steps: int, sampling: str) -> tf.Tensor:
    """Steps of a clip that are kept, in order.

    Of a clip that is too long, `uniform` keeps the middle one of each of `num_steps` equal parts.

    Args:
        count: int32[] steps of the clip.
        num_steps: most steps to keep.
        sampling: `truncate` or `uniform`.

    Returns:
        int32[num_steps]; `count`, which is no step, where there are no more.
    """
    places = tf.range(num_steps)
    kept = tf.minimum(places, count)
    if sampling == "truncate":
        return kept
    spread = (2 * places + 1) * count // (2 * num_steps)
    return tf.where(count > num_steps, spread, kept)


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
