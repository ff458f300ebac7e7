"""Checks that every layer and every model must pass, whatever it computes."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

SEED = (17, 4)


def seed() -> tf.Tensor:
    return tf.constant(SEED, tf.int32)


def flatten(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(tf.cast(value, tf.float32)) for value in tf.nest.flatten(outputs)]


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    actual, expected = flatten(actual), flatten(expected)
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    assert [w.path.split("/")[-1] for w in source.weights] == [
        w.path.split("/")[-1] for w in target.weights
    ]
    for old, new in zip(source.weights, target.weights, strict=True):
        new.assign(old.numpy())


def shake(layer: keras.Layer, scale: float = 0.1) -> None:
    """Moves every weight off its initial value, so that zeros and ones hide nothing."""
    random = np.random.default_rng(3)
    for weight in layer.weights:
        noise = np.abs(random.normal(size=weight.shape)) * scale
        weight.assign(weight.numpy() + noise.astype(np.float32))


def check_serialises(layer: keras.Layer, call: Callable, tolerance: float = 1e-6) -> None:
    """A layer made again from its config, with the weights copied, computes the same."""
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    expected = call(again), copy_weights(layer, again)  # the first call builds the copy
    assert len(flatten(expected[0])) > 0
    assert_close(call(again), call(layer), tolerance)


def check_row_alone(call: Callable, inputs: Mapping[str, tf.Tensor], tolerance=1e-5) -> None:
    """Row 1 of a batch is what that row gives alone."""
    whole = call(inputs)
    alone = call({name: value[1:2] for name, value in inputs.items()})
    assert_close(alone, tf.nest.map_structure(lambda value: value[1:2], whole), tolerance)


def check_compiles(call: Callable, inputs: Mapping[str, tf.Tensor], tolerance=1e-5) -> None:
    """XLA gives what eager execution gives, drawn numbers included."""
    compiled = tf.function(call, jit_compile=True, autograph=False)
    assert_close(compiled(inputs), call(inputs), tolerance)


def check_gradients(layer: keras.Layer, call: Callable, inputs) -> None:
    """A gradient reaches every trainable weight."""
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(call(inputs))
        # Weighted, because the plain sum of normalised values does not depend on anything.
        loss = tf.add_n(
            [
                tf.reduce_sum(
                    tf.cast(value, tf.float32) * tf.random.stateless_normal(value.shape, (index, 5))
                )
                for index, value in enumerate(outputs)
            ]
        )
    weights = layer.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        assert gradient is not None, f"no gradient reaches {weight.path}"
        assert np.any(np.asarray(gradient) != 0.0), f"the gradient of {weight.path} is zero"


def check_mixed_precision(make: Callable, inputs, run: Callable, tolerance: float) -> None:
    """Under mixed_bfloat16 weights stay float32 and the result stays near."""
    full = make(dtype="float32")
    run(full, inputs)
    mixed = make(dtype="mixed_bfloat16")
    run(mixed, inputs)
    copy_weights(full, mixed)
    assert all(weight.dtype == "float32" for weight in mixed.weights)
    assert_close(run(mixed, inputs), run(full, inputs), tolerance)


def check_layer(
    make: Callable[..., keras.Layer],
    inputs: Mapping[str, tf.Tensor],
    *,
    first: str = "",
    call: Callable | None = None,
    draws: bool = False,
    mixed_tolerance: float = 0.1,
    rows_are_independent: bool = True,
) -> None:
    """The battery of a layer.

    Args:
        make: builds the layer; takes `dtype`.
        inputs: call arguments with a batch axis of at least 2.
        first: the argument that is given by position.
        call: takes the layer, and inputs and options by name; None: the layer's own call.
        draws: whether training draws random numbers, so that a seed goes with it.
        mixed_tolerance: distance allowed between mixed precision and float32.
        rows_are_independent: false where examples of a batch influence each other by design.
    """

    def run(layer, values, **options):
        if call is not None:
            return call(layer, **values, **options)
        rest = {name: value for name, value in values.items() if name != first}
        return layer(values[first], **rest, **options)

    layer = make(dtype="float32")
    run(layer, inputs)
    shake(layer)
    check_serialises(layer, lambda one: run(one, inputs))
    if rows_are_independent:
        check_row_alone(lambda values: run(layer, values), inputs)
    check_compiles(lambda values: run(layer, values), inputs)
    options = {"training": True, "seed": seed()} if draws else {}
    if draws:
        check_compiles(lambda values: run(layer, values, **options), inputs)
        assert_close(run(layer, inputs, **options), run(layer, inputs, **options), 0.0)
    if layer.trainable_weights:
        check_gradients(layer, lambda values: run(layer, values, **options), inputs)
    check_mixed_precision(make, inputs, run, mixed_tolerance)


def check_model(
    make: Callable[..., keras.Model],
    inputs: Mapping[str, tf.Tensor],
    folder,
    *,
    mixed_tolerance: float = 0.1,
) -> None:
    """The battery of a model called as `model(inputs, training=, seed=)`; `folder` is for files."""
    model = make(dtype="float32")
    model(inputs)
    shake(model, 0.03)

    def evaluate(values):
        return model(values)

    def train(values):
        return model(values, training=True, seed=seed())

    check_serialises(model, lambda one: one(inputs))
    check_row_alone(evaluate, inputs)
    check_compiles(train, inputs, 1e-4)
    check_gradients(model, train, inputs)
    check_saves(model, make, inputs, folder)
    check_mixed_precision(make, inputs, lambda one, values: one(values), mixed_tolerance)


def check_saves(model: keras.Model, make: Callable, inputs, folder) -> None:
    """Keras files, Keras weight files and TensorFlow checkpoints bring every weight back."""
    expected = model(inputs)
    model.save(folder / "model.keras")
    assert_close(keras.saving.load_model(folder / "model.keras")(inputs), expected, 1e-6)
    model.save_weights(folder / "model.weights.h5")
    again = make(dtype="float32")
    again.load_weights(folder / "model.weights.h5")
    assert_close(again(inputs), expected, 1e-6)
    path = tf.train.Checkpoint(model=model).write(str(folder / "checkpoint"))
    restored = make(dtype="float32")
    status = tf.train.Checkpoint(model=restored).read(path)
    status.assert_existing_objects_matched()
    assert_close(restored(inputs), expected, 1e-6)


def all_gather(values: tf.Tensor) -> tf.Tensor:
    """Differentiable all-gather over the batch axis, inside a replica."""
    return tf.distribute.get_replica_context().all_gather(values, axis=0)


def replicated_gradients(
    make: Callable[[], keras.Model],
    weights: list[np.ndarray],
    loss_term: Callable,
    inputs: Mapping[str, tf.Tensor],
    num_replicas: int,
) -> tuple[float, list[np.ndarray]]:
    """Loss and gradients of one global batch split over logical CPU devices.

    Args:
        make: builds the model.
        weights: values of its weights.
        loss_term: (model, inputs of the replica, gather) -> (sum, weight).
        inputs: the global batch.
        num_replicas: must divide the batch.
    """
    devices = [f"CPU:{index}" for index in range(num_replicas)]
    strategy = tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        model = make()
    for variable, value in zip(model.weights, weights, strict=True):
        variable.assign(value)
    batch = next(iter(inputs.values())).shape[0]
    rows = batch // num_replicas

    def slice_of(context):
        start = context.replica_id_in_sync_group * rows
        return {name: value[start : start + rows] for name, value in inputs.items()}

    per_replica = {
        name: strategy.experimental_distribute_values_from_function(
            lambda context, name=name: slice_of(context)[name]
        )
        for name in inputs
    }

    def replica_step(values):
        context = tf.distribute.get_replica_context()
        variables = [weight.value for weight in model.trainable_weights]
        with tf.GradientTape() as tape:
            total, weight = loss_term(model, values, all_gather)
            weight = context.all_reduce("sum", weight)
            loss = total / weight
        return [loss, *tape.gradient(loss, variables)]

    @tf.function(autograph=False)
    def step(values):
        return strategy.run(replica_step, args=(values,))

    totals = [
        np.sum([np.asarray(part) for part in strategy.experimental_local_results(value)], axis=0)
        for value in step(per_replica)
    ]
    return float(totals[0]), totals[1:]
