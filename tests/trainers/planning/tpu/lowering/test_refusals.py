"""What does not compile, and what should not be in a step, is named with its layer and line."""

import inspect

import keras
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from trainers.planning.tpu import internals
from trainers.planning.tpu.lowering.faults import contents
from trainers.planning.tpu.lowering.program import lowered
from trainers.planning.tpu.lowering.refusals import OutOfMemory, refused_program

SPEC = tf.TensorSpec([8, 8])


class Odd(keras.layers.Layer):
    """A layer that does one odd thing."""

    def __init__(self, thing, **kwargs):
        super().__init__(**kwargs)
        self.thing = thing

    def call(self, inputs):
        return self.thing(inputs)


def function_of(thing):
    """A compiled function around the layer, and the graph that it is traced into."""
    layer = Odd(thing, name="odd_layer")

    @tf.function(jit_compile=True, autograph=False)
    def step(inputs):
        return tf.convert_to_tensor(layer(2.0 * inputs))

    return step, step.get_concrete_function(SPEC).graph


def hlo_of(thing):
    step, graph = function_of(thing)
    return lowered(step, [SPEC], graph)


def py_function(x):
    return tf.numpy_function(lambda one: one, [x], tf.float32)


def text(x):
    return tf.strings.to_number(tf.strings.as_string(x))


def jpeg(x):
    return tf.image.decode_jpeg(tf.strings.as_string(x[0, 0]))


def shape_of_values(x):
    return tf.zeros(tf.cast(x[0, :1], tf.int32))


@pytest.mark.parametrize(
    ("thing", "kind"),
    [(py_function, "PyFunc"), (text, "AsString"), (jpeg, "AsString"), (shape_of_values, "Fill")],
)
def test_what_has_no_xla_form_is_named(thing, kind):
    step, graph = function_of(thing)
    with pytest.raises(UserError, match=f"operation {kind} .* of layer odd_layer") as refused:
        lowered(step, [SPEC], graph)
    (_, first) = inspect.getsourcelines(thing)
    assert f"tests/trainers/planning/tpu/lowering/test_refusals.py:{first + 1}" in str(
        refused.value
    )


def unique(x):
    return tf.cast(tf.unique(x[:, 0])[0], tf.float32)


def masked(x):
    return tf.boolean_mask(x, x > 0.0)


def wide(x):
    return tf.matmul(tf.cast(x, tf.float64), tf.cast(x, tf.float64))


@pytest.mark.parametrize(
    ("thing", "field"), [(unique, "dynamic"), (masked, "dynamic"), (wide, "wide_floats")]
)
def test_what_compiles_and_should_not_be_there_is_found(thing, field):
    found = contents(hlo_of(thing))
    assert any("odd_layer" in name for name in getattr(found, field))


def test_an_ordinary_layer_has_none_of_it():
    found = contents(hlo_of(lambda x: tf.nn.softmax(tf.matmul(x, x))))
    assert not [*found.host, *found.dynamic, *found.wide_floats, *found.custom_calls]
    assert found.wide_integers == 0


def transform(x):
    return tf.math.real(tf.signal.fft(tf.cast(x, tf.complex128)))


def large(x):
    tall = tf.tile(x, [30000, 30000])
    return tf.matmul(tf.sin(tf.matmul(tall, tall)), tall)


def compiler_says(thing):
    """The error that the TPU compiler's refusal becomes."""
    pytest.importorskip("libtpu")
    step, graph = function_of(thing)
    hlo = lowered(step, [SPEC], graph)
    with pytest.raises(internals.CompilerRefused) as refused:
        internals.compile_for("v5e:2x2", hlo, internals.Partitioning())
    return refused_program(refused.value, hlo, graph)


def test_what_the_tpu_does_not_know_is_named():
    error = compiler_says(transform)
    assert "operation FFT" in str(error) and "odd_layer" in str(error)
    assert "test_refusals.py:" in str(error)


def test_what_no_device_holds_says_how_much_it_needs():
    error = compiler_says(large)
    assert isinstance(error, OutOfMemory)
    assert error.available_bytes == int(15.75 * 2**30)
    # Two float32 matrices of 240,000 by 240,000 at least.
    assert error.needed_bytes > 2 * 240_000**2 * 4
    assert "use a smaller batch" in str(error)


def test_a_topology_that_is_not_sold_is_refused():
    pytest.importorskip("libtpu")
    with pytest.raises(UserError, match="knows no topology 'v5e:3x5'"):
        internals.compile_for("v5e:3x5", hlo_of(tf.nn.relu), internals.Partitioning())
