"""Which steps of a sequence a window takes; shared by training, evaluation and exported graphs."""

import tensorflow as tf


def central_offset(length: tf.Tensor, num_steps: int, stride: int) -> tf.Tensor:
    """Start of the central window: max(0, (length - num_steps * stride) // 2).

    Args:
        length: int32[...] steps in the sequence.
        num_steps: steps in the window.
        stride: sequence steps between two window steps.

    Source: VATT's reference sampling.
    """
    return tf.maximum((length - num_steps * stride) // 2, 0)


def window_indices(
    length: tf.Tensor, offset: tf.Tensor, num_steps: int, stride: int = 1
) -> tf.Tensor:
    """Indices of a window, going round to the start where the sequence ends.

    Args:
        length: int32[...] steps in the sequence; an empty one yields zeros.
        offset: int32[...] first step.
        num_steps: steps in the window.
        stride: sequence steps between two window steps.

    Returns:
        int32[..., num_steps] in [0, length).
    """
    steps = tf.range(num_steps) * stride
    return (offset[..., tf.newaxis] + steps) % tf.maximum(length, 1)[..., tf.newaxis]


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
