"""What counts as kept for the backward pass, on graphs that can be counted by hand."""

import tensorflow as tf

from mm_models.layers.transformer.rematerialization import recompute
from trainers.loop.steps import costs

ROWS = tf.TensorSpec([4, 8])


def count(block, weight):
    def step(rows):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weight)
            loss = tf.reduce_sum(block(rows))
        return loss, tape.gradient(loss, weight)

    return costs.count(tf.autograph.experimental.do_not_convert(step), ROWS)


def test_what_is_computed_again_is_not_kept():
    weight = tf.Variable(tf.ones([8, 8]))

    def block(rows):
        return tf.tanh(tf.tanh(rows @ weight) @ weight)

    plain = count(block, weight)
    again = count(lambda rows: recompute(block, rows), weight)
    # The rows and both activations, against the rows alone.
    assert plain.activation_bytes == 3 * 4 * 8 * 4
    assert again.activation_bytes == 4 * 8 * 4
    product = 2 * 4 * 8 * 8
    assert plain.flops == 5 * product
    # Two are computed again, and the rows get a gradient that nobody asks for.
    assert again.flops == 8 * product


def test_copies_of_weights_are_told_apart():
    weight = tf.Variable(tf.ones([8, 8]))

    def block(rows):
        half = tf.cast(weight, tf.bfloat16)
        return tf.cast(rows, tf.bfloat16) @ half @ half

    found = count(block, weight)
    assert found.copy_bytes == 8 * 8 * 2
    # Rows and the product in between.
    assert found.activation_bytes - found.copy_bytes == 2 * 4 * 8 * 2


def test_what_no_result_needs_costs_nothing():
    weight = tf.Variable(tf.ones([8, 8]))

    def step(rows):
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(weight)
            hidden = rows @ weight
            loss = tf.reduce_sum(hidden * hidden)
        tape.gradient(loss, weight)
        return tape.gradient(loss, hidden)

    found = costs.count(tf.autograph.experimental.do_not_convert(step), ROWS)
    assert found.flops == 2 * 4 * 8 * 8


def test_convolutions_of_each_channel_alone_are_counted():
    """As often as positions of the output: 3 x 3 products for each of 6 channels, forth and back
    for inputs and kernel."""
    kernel = tf.Variable(tf.ones([3, 3, 6, 1]))

    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.nn.depthwise_conv2d(images, kernel, [1, 2, 2, 1], "SAME")
            loss = tf.reduce_sum(outputs * outputs)
        return loss, *tape.gradient(loss, [images, kernel])

    found = costs.count(step, tf.TensorSpec([2, 8, 8, 6]))
    assert found.flops == 3 * 2 * (2 * 4 * 4) * 9 * 6
