"""Small SavedModels whose maps can be computed by hand."""

import pathlib

import numpy as np
import tensorflow as tf

from tests import tensorflow_setup  # noqa: F401  Splits the CPU before TensorFlow starts.


class MeanColors(tf.Module):
    """Maps of mean colours: float32[batch, cells, cells, 3], of all frames."""

    def __init__(self, cells: int, scale: float = 1.0):
        super().__init__()
        self._cells = cells
        self._scale = tf.Variable(scale)

    def __call__(self, video: tf.Tensor) -> dict[str, tf.Tensor]:
        """`video: dtype[batch, frames, height, width, 3]`, of a size that the cells divide."""
        frames = tf.reduce_mean(tf.cast(video, tf.float32), axis=1)
        sizes = [tf.shape(frames)[axis] // self._cells for axis in (1, 2)]
        shape = [-1, self._cells, sizes[0], self._cells, sizes[1], 3]
        return {"maps": self._scale * tf.reduce_mean(tf.reshape(frames, shape), axis=[2, 4])}


def write_encoder(
    folder: pathlib.Path,
    *,
    cells: int = 4,
    shape: tuple = (None, None, None, None),
    dtype: tf.DType = tf.uint8,
    scale: float = 1.0,
    name: str = "feature_maps",
    argument: str = "video",
) -> pathlib.Path:
    """Writes a model of clips of `shape` (batch, frames, height, width). Returns `folder`."""
    module = MeanColors(cells, scale)
    spec = tf.TensorSpec([*shape, 3], dtype, argument)
    function = tf.function(module.__call__, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, str(folder), {name: function})
    return folder


def mean_colors(frames: np.ndarray, cells: int) -> np.ndarray:
    """float64[cells, cells, 3] of uint8[frames, height, width, 3]."""
    mean = frames.astype(np.float64).mean(axis=0)
    height, width = (size // cells for size in mean.shape[:2])
    return mean.reshape(cells, height, cells, width, 3).mean(axis=(1, 3))
