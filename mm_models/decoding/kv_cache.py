"""Keys and values of a fixed number of places, written where they are."""

from typing import NamedTuple

import tensorflow as tf


class KeyValueCache(NamedTuple):
    """Of one layer: float[rows, heads, places, head_dim] each."""

    keys: tf.Tensor
    values: tf.Tensor

    @classmethod
    def of_prompt(cls, keys: tf.Tensor, values: tf.Tensor, places: int) -> "KeyValueCache":
        """The cache after a prompt: its keys and values in the first places, 0 in the others.

        Args:
            keys, values: float[rows, heads, prompt, head_dim].
            places: at least the prompt's.
        """
        room = [[0, 0], [0, 0], [0, places - keys.shape[2]], [0, 0]]
        return cls(tf.pad(keys, room), tf.pad(values, room))

    def write(self, keys: tf.Tensor, values: tf.Tensor, position: tf.Tensor) -> "KeyValueCache":
        """The cache with float[rows, heads, head_dim] each at `position: int32[]`."""
        return KeyValueCache(
            write_place(self.keys, keys, position), write_place(self.values, values, position)
        )


def write_place(cache: tf.Tensor, values: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """float[rows, heads, places, head_dim] with `values` at one place.

    A scatter of rows * heads slices, which loops do in place with and without XLA; where or a
    one-hot product would touch every place.

    Args:
        cache: float[rows, heads, places, head_dim].
        values: float[rows, heads, head_dim].
        position: int32[] the place.
    """
    shape = tf.shape(cache)
    lines = shape[0] * shape[1]
    places = tf.stack([tf.range(lines), tf.fill([lines], position)], axis=1)
    flat = tf.reshape(cache, [-1, cache.shape[2], cache.shape[3]])
    flat = tf.tensor_scatter_nd_update(flat, places, tf.reshape(values, [-1, cache.shape[3]]))
    return tf.ensure_shape(tf.reshape(flat, shape), cache.shape)
