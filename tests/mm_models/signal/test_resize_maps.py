"""Resizing of maps: that of the host, inside XLA too."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.signal.resize_maps import resize_maps


@pytest.mark.parametrize("size", [(30, 40), (12, 16), (10, 8), (3, 5), (6, 8)])
def test_compiled_or_not_maps_are_resized_as_on_the_host(size):
    maps = np.random.default_rng(0).random((2, 6, 8, 3)).astype(np.float32)
    expected = tf.image.resize(maps, size)
    compiled = tf.function(lambda maps: resize_maps(maps, *size), jit_compile=True)
    for found in (resize_maps(tf.constant(maps), *size), compiled(maps)):
        np.testing.assert_allclose(found, expected, atol=2e-6)
    assert resize_maps(tf.constant(maps[0]), *size).shape == (*size, 3)
