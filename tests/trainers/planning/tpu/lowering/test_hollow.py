"""Variables without memory."""

import keras
import psutil
import tensorflow as tf

from trainers.planning.tpu.lowering.hollow import hollow_variables


def test_variables_of_many_gib_take_no_memory_and_compute_nothing():
    before = psutil.Process().memory_info().rss
    with hollow_variables():
        dense = keras.layers.Dense(1 << 16)
        dense.build((None, 1 << 16))
        plain = tf.Variable(tf.ones([2]))
    assert dense.kernel.shape == (1 << 16, 1 << 16)
    assert dense.kernel.value.dtype == tf.float32
    assert psutil.Process().memory_info().rss - before < 1 << 29
    assert float(tf.reduce_sum(dense.bias.value)) == 0.0
    assert plain.numpy().tolist() == [1.0, 1.0]
