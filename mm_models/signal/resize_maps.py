"""Maps resized the same way with and without XLA."""

import numpy as np
import tensorflow as tf

from mm_models.signal.interpolation import interpolation


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
    down, across = (
        interpolation(*sizes).astype(np.float32) for sizes in ((rows, height), (columns, width))
    )
    return tf.einsum("hr,...rcd,wc->...hwd", down, maps, across)
