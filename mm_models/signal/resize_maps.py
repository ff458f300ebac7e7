"""Maps resized the same way with and without XLA."""

import numpy as np
import tensorflow as tf


def resize_maps(maps: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Bilinear, with half-pixel centres and without smoothing, as `tf.image.resize` on the host.

    XLA's own resizing (TensorFlow 2.20, CPU) gives wrong values for some sizes, such as 6 x 8 to
    30 x 40 or to 10 x 8, so this is two products with constant matrices.

    Args:
        maps: float32[..., rows, columns, channels].

    Returns:
        float32[..., height, width, channels].
    """
    rows, columns = maps.shape[-3:-1]
    if (rows, columns) == (height, width):
        return maps
    down, across = interpolation(rows, height), interpolation(columns, width)
    return tf.einsum("hr,...rcd,wc->...hwd", down, maps, across)


def interpolation(size: int, new_size: int) -> np.ndarray:
    """float32[new_size, size]: what values in a row are multiplied with to be resized."""
    places = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5
    before = np.floor(places).astype(int)
    shares = places - before
    matrix = np.zeros((new_size, size))
    numbers = np.arange(new_size)
    np.add.at(matrix, (numbers, before.clip(0, size - 1)), 1 - shares)
    np.add.at(matrix, (numbers, (before + 1).clip(0, size - 1)), shares)
    return matrix.astype(np.float32)
