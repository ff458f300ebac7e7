"""Mix-up: every example becomes a blend of itself and another one of its batch."""

import functools

import numpy as np
import tensorflow as tf

from mm_models.layers import randomness

_GRID_POINTS = 1 << 16
_QUANTILES = 4096


@functools.lru_cache(maxsize=8)
def beta_quantiles(alpha: float, beta: float) -> np.ndarray:
    """The inverse of Beta(alpha, beta)'s distribution function at evenly spaced shares.

    A table, because samplers of that distribution reject draws, which does not compile.

    Args:
        alpha, beta: above 0.

    Returns:
        float32[quantiles + 1], from 0 to 1.
    """
    edges = np.linspace(0.0, np.pi / 2, _GRID_POINTS + 1)
    centers = (edges[:-1] + edges[1:]) / 2
    # With x = sin(t)^2 the density is that of t times 2 sin(t) cos(t), which tames its poles.
    logarithms = (2 * alpha - 1) * np.log(np.sin(centers))
    logarithms += (2 * beta - 1) * np.log(np.cos(centers))
    masses = np.exp(logarithms - logarithms.max())
    cumulative = np.concatenate([[0.0], np.cumsum(masses)])
    shares = np.linspace(0.0, 1.0, _QUANTILES + 1)
    return np.interp(shares, cumulative / cumulative[-1], np.sin(edges) ** 2).astype(np.float32)


def beta_shares(num_examples, alpha: float, beta: float, seed: tf.Tensor) -> tf.Tensor:
    """float32[num_examples] drawn from Beta(alpha, beta), a pure function of `seed: int32[2]`."""
    table = tf.constant(beta_quantiles(alpha, beta))
    place = randomness.uniform([num_examples], seed) * _QUANTILES
    below = tf.cast(place, tf.int32)
    low, high = tf.gather(table, below), tf.gather(table, below + 1)
    return low + (high - low) * (place - tf.cast(below, tf.float32))


def blend(values: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """share * row + (1 - share) * the row as far from the batch's end as this one from its start.

    Args:
        values: float[batch, ...].
        shares: float32[batch] each row's own part in its blend.

    Returns:
        float[batch, ...].

    Source: VATT, appendix A.3.
    """
    axes = [1] * (values.shape.rank - 1)
    shares = tf.cast(tf.reshape(shares, [-1, *axes]), values.dtype)
    return shares * values + (1.0 - shares) * tf.reverse(values, axis=[0])
