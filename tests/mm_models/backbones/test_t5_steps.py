"""Writing token by token gives what reading all at once gives."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.t5 import T5, T5Config, shift_right
from tests import batteries

LENGTH = 32
BEAMS = 3


def _inputs():
    random = np.random.default_rng(5)
    inputs = tf.constant(random.integers(2, 64, (2, 9)), tf.int32)
    targets = tf.constant(random.integers(2, 64, (2 * BEAMS, LENGTH)), tf.int32)
    mask = tf.constant([[1.0] * 9, [1.0] * 6 + [0.0] * 3])
    return inputs, mask, shift_right(targets)


def _stepwise(model, inputs, mask, read, num_beams, prefix=0):
    """Logits of every position, by steps after `prefix` ids that are read at once."""
    state = model.start(model.encode(model.embed(inputs), mask), mask, read.shape[1], num_beams)
    step, rows = tf.function(model.step, autograph=False), []
    if prefix:
        logits, state = model.read(read[:, :prefix], tf.constant(0), state)
        rows.append(logits)
    for position in range(prefix, read.shape[1]):
        logits, state = step(read[:, position], tf.constant(position), state)
        rows.append(logits[:, None])
    return tf.concat(rows, axis=1), state


@pytest.mark.parametrize("changes", [{}, {"per_layer_bias": True, "tie_logits": True}])
def test_steps_equal_reading_all_at_once(changes):
    model = T5(T5Config("debug", **changes))
    batteries.shake(model)
    inputs, mask, read = _inputs()
    memory = model.encode(model.embed(inputs), mask)
    whole = model.decode(read, tf.repeat(memory, BEAMS, axis=0), tf.repeat(mask, BEAMS, axis=0))
    logits, state = _stepwise(model, inputs, mask, read, BEAMS)
    assert logits.dtype == tf.float32
    batteries.assert_close(logits, whole, 1e-3)
    # The memory's keys and values are there once an example, whatever the number of beams.
    assert state.memory["blocks"][0]["keys"].shape == (2, 2, 9, 8)
    assert state.cache[0]["keys"].shape == (2 * BEAMS, 2, LENGTH, 8)


def test_a_beginning_read_at_once_and_compiled_steps_in_a_loop():
    model = T5(T5Config("debug"))
    batteries.shake(model)
    inputs, mask, read = _inputs()
    read = read[:, :12]
    expected, _ = _stepwise(model, inputs, mask, read, BEAMS)

    @tf.function(jit_compile=True, autograph=False)
    def write(inputs, mask, read):
        memory = model.encode(model.embed(inputs), mask)
        state = model.start(memory, mask, 12, BEAMS)
        first, state = model.read(read[:, :5], tf.constant(0), state)
        rest = tf.zeros([7, 6, 64])

        def body(position, state, rest):
            ids = tf.gather(read, position, axis=1)
            logits, state = model.step(ids, position, state)
            rest = tf.tensor_scatter_nd_update(rest, [[position - 5]], logits[None])
            return position + 1, state, rest

        loop = tf.while_loop(lambda position, *_: position < 12, body, (5, state, rest))
        return tf.concat([first, tf.transpose(loop[2], [1, 0, 2])], axis=1)

    batteries.assert_close(write(inputs, mask, read), expected, 1e-3)


def test_a_batch_of_unknown_size():
    model = T5(T5Config("debug"))
    inputs, mask, read = _inputs()
    signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in (inputs, mask, read[:, :4])]
    write = tf.function(
        lambda *args: _stepwise(model, *args, BEAMS, prefix=2)[0], signature, autograph=False
    )
    expected, _ = _stepwise(model, inputs, mask, read[:, :4], BEAMS)
    batteries.assert_close(write(inputs, mask, read[:, :4]), expected, 1e-4)


def test_mixed_precision_keeps_its_cache_small_and_its_logits_exact():
    full, mixed = T5(T5Config("debug")), T5(T5Config("debug"), dtype="mixed_bfloat16")
    batteries.copy_weights(full, mixed)
    inputs, mask, read = _inputs()
    logits, state = _stepwise(mixed, inputs, mask, read[:, :6], BEAMS)
    assert state.cache[0]["keys"].dtype == tf.bfloat16 and logits.dtype == tf.float32
    expected, _ = _stepwise(full, inputs, mask, read[:, :6], BEAMS)
    assert np.abs(logits - expected).max() < 0.1
