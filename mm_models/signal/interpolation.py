"""Bilinear interpolation as a matrix; NumPy only."""

import numpy as np


def interpolation(size: int, new_size: int) -> np.ndarray:
    """float64[new_size, size]: what values in a row are multiplied with to be resized.

    Centres lie half a pixel in, edges are repeated and nothing is smoothed, as `cv2.resize` and
    `tf.image.resize` do by default.
    """
    places = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    below = np.minimum(places.astype(int), max(size - 2, 0))
    shares = np.zeros((new_size, size))
    rows = np.arange(new_size)
    np.add.at(shares, (rows, below), 1.0 - (places - below))
    np.add.at(shares, (rows, np.minimum(below + 1, size - 1)), places - below)
    return shares
