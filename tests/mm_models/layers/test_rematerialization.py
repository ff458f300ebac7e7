"""Recomputation: the same numbers, twice the work, under XLA as well."""

import keras
import numpy as np
import tensorflow as tf

from mm_models.layers.transformer.rematerialization import recompute


def make_step(layer, again: bool):
    def part(values):
        return {"out": tf.nn.softmax(layer(values)), "sum": tf.reduce_sum(values)}

    def step(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = recompute(part, values) if again else part(values)
            loss = tf.reduce_sum(outputs["out"] ** 2) + outputs["sum"]
        return loss, *tape.gradient(loss, [values, *(w.value for w in layer.trainable_weights)])

    return step


def test_same_values_and_gradients_eager_traced_and_compiled():
    layer, values = keras.layers.Dense(4), tf.random.stateless_normal([3, 5], (1, 2))
    layer.build((3, 5))
    expected = make_step(layer, False)(values)
    step = make_step(layer, True)
    for run in (step, tf.function(step), tf.function(step, jit_compile=True)):
        for one, other in zip(run(values), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6, rtol=1e-4)


def test_the_part_is_computed_twice():
    layer, values = keras.layers.Dense(4), tf.ones([3, 5])
    layer.build((3, 5))
    counts = []
    for again in (False, True):
        graph = tf.function(make_step(layer, again)).get_concrete_function(values).graph
        counts.append(sum(op.type == "Softmax" for op in graph.get_operations()))
    assert counts == [1, 2]
