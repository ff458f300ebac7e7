"""Backbones of several levels: what their maps are, and that a frozen one stays as it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.levels.build import build_levels
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.backbones.levels.keras_networks import KerasLevels
from mm_models.errors import UserError
from tests import batteries

SMALL = {"widths": [8, 16], "blocks_per_stage": [2, 2], "height": 16, "width": 24}


def images_of(config, batch=2):
    shape = [batch, config.height, config.width, 3]
    return tf.random.stateless_uniform(shape, (1, 2), -1.0, 1.0)


def small(**fields):
    return LevelsConfig(**(SMALL | fields))


@pytest.fixture(scope="module")
def vgg16():
    return build_levels(LevelsConfig(kind="vgg16", height=32, width=48, trainable=True))


def test_battery_of_the_small_network():
    config = small(trainable=True, levels=["stage2_block2", "stage1_block1"])
    batteries.check_layer(
        lambda dtype: build_levels(config, dtype=dtype),
        {"images": images_of(config)},
        first="images",
    )


def test_the_small_network_ends_with_its_last_level():
    config = small(trainable=True, levels=["stage1_block1"], widths=[8, 16, 16])
    config.blocks_per_stage = [2, 1, 1]
    backbone = build_levels(config)
    images = images_of(config)
    assert {weight.path.split("/")[1] for weight in backbone.weights} == {
        "stage1_entry",
        "stage1_block1",
    }
    assert backbone.maps(images)["stage1_block1"].shape == (2, 8, 12, 8)


def test_without_normalisation_convolutions_have_biases():
    backbone = build_levels(small(norm="none"))
    assert {weight.name for weight in backbone.weights} == {"kernel", "bias"}
    images = images_of(backbone.config)
    entry = backbone.stage1_entry
    np.testing.assert_allclose(entry(images), entry.conv(images), atol=1e-6)


def test_maps_have_their_names_shapes_and_order():
    config = small(height=15, width=21)
    backbone = build_levels(config, name="eyes")
    maps = backbone.maps(images_of(config))
    assert {name: tuple(value.shape[1:]) for name, value in maps.items()} == backbone.shapes()
    assert list(maps) == list(backbone.shapes())
    assert all(weight.path.startswith("eyes/") for weight in backbone.weights)
    # Levels are after a ReLU.
    assert min(float(tf.reduce_min(value)) for value in maps.values()) == 0.0
    with pytest.raises(UserError, match="images of 21 x 15 pixels .* takes 15 x 21"):
        backbone.maps(tf.zeros([1, 21, 15, 3]))


def test_group_norm_is_of_eight_channels_of_one_image():
    config = small(trainable=True)
    backbone = build_levels(config)
    images = images_of(config)
    entry = backbone.stage1_entry
    values = entry.conv(images).numpy().reshape(2, -1, 1, 8)
    mean, variance = values.mean((1, 3), keepdims=True), values.var((1, 3), keepdims=True)
    expected = (values - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(entry(images).numpy().reshape(values.shape), expected, atol=1e-4)


def test_the_same_in_training():
    config = small(trainable=True)
    backbone, images = build_levels(config), images_of(config)
    batteries.assert_close(backbone.maps(images, training=True), backbone.maps(images), 0.0)


class Probe(keras.Model):
    """A backbone and a layer that learns from it."""

    def __init__(self, config):
        super().__init__()
        self.visual = build_levels(config)
        self.head = keras.layers.Dense(1)

    def call(self, images, training=False):
        maps = self.visual.maps(images, training=training)
        return self.head(tf.concat([tf.reduce_mean(one, [1, 2]) for one in maps.values()], -1))


@pytest.mark.parametrize("trainable", [False, True])
def test_what_a_training_step_changes(trainable):
    config = small(trainable=trainable)
    probe = Probe(config)
    images = images_of(config, 4)
    probe(images)
    assert bool(probe.visual.trainable_variables) == trainable
    before = [weight.numpy() for weight in probe.visual.weights]
    head = probe.head.kernel.numpy()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        loss = tf.reduce_sum(probe(images, training=True))
    assert (tape.gradient(loss, images) is not None) == trainable
    variables = probe.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    keras.optimizers.SGD(0.1).apply(gradients, variables)
    assert np.abs(probe.head.kernel.numpy() - head).max() > 0
    moved = [
        np.abs(weight.numpy() - value).max() > 0
        for weight, value in zip(probe.visual.weights, before, strict=True)
    ]
    assert all(moved) if trainable else not any(moved)


def test_vgg16_is_that_of_keras_on_what_keras_prepares(vgg16):
    assert vgg16.count_params() == 14_714_688
    whole = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 48, 3))
    whole.set_weights([weight.numpy() for weight in vgg16.weights])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3)).astype(np.float32)
    prepared = keras.applications.vgg16.preprocess_input(pixels.copy())
    network = keras.Model(whole.input, [whole.get_layer(name).output for name in vgg16.shapes()])
    maps = vgg16.maps(tf.constant(pixels / 127.5 - 1.0))
    for one, other in zip(maps.values(), network(prepared), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())
    assert {name: tuple(value.shape[1:]) for name, value in maps.items()} == vgg16.shapes()


def test_vgg16_compiles_and_serialises(vgg16):
    images = images_of(vgg16.config)
    batteries.check_compiles(lambda inputs: vgg16.maps(inputs["images"]), {"images": images}, 1e-4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(vgg16))
    assert [one.path for one in again.weights] == [one.path for one in vgg16.weights]
    assert again.config == vgg16.config and len(again.trainable_variables) == 26


def test_what_lies_behind_the_last_level_is_left_out(tmp_path):
    config = LevelsConfig(
        kind="vgg16", levels=["block2_conv1", "block1_conv2"], height=32, width=32
    )
    backbone = build_levels(config, dtype="mixed_bfloat16")
    # Three convolutions of 3 x 3: 3 -> 64 -> 64 -> 128 channels.
    assert backbone.count_params() == 1792 + 36928 + 73856
    assert {weight.dtype for weight in backbone.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    images = images_of(config)
    maps = backbone.maps(images)
    assert list(maps) == ["block2_conv1", "block1_conv2"]
    assert {value.dtype for value in maps.values()} == {tf.bfloat16}
    full = build_levels(config)
    batteries.copy_weights(backbone, full)
    for one, other in zip(maps.values(), full.maps(images).values(), strict=True):
        scale = float(tf.reduce_max(other))
        np.testing.assert_allclose(tf.cast(one, tf.float32) / scale, other / scale, atol=0.02)
    path = tf.train.Checkpoint(model=full).write(str(tmp_path / "checkpoint"))
    again = build_levels(config)
    tf.train.Checkpoint(model=again).read(path).assert_existing_objects_matched()
    batteries.assert_close(again.maps(images), full.maps(images), 1e-6)


class NormedLevels(KerasLevels):
    """A network of one convolution and a batch normalisation in the place of Keras' own."""

    def _application(self, **arguments):
        inputs = keras.Input(arguments["input_shape"])
        outputs = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        return keras.Model(inputs, keras.layers.BatchNormalization(name="block1_conv1")(outputs))


@pytest.mark.parametrize("trainable", [False, True])
def test_statistics_of_batches_do_not_move(trainable):
    config = LevelsConfig(
        kind="vgg16", levels=["block1_conv1"], height=32, width=32, trainable=trainable
    )
    backbone = NormedLevels(config)
    batteries.shake(backbone)
    before = [weight.numpy() for weight in backbone.weights]
    images = images_of(config)
    training = backbone.maps(images, training=True)
    batteries.assert_close(training, backbone.maps(images), 0.0)
    for weight, value in zip(backbone.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    assert len(backbone.trainable_variables) == (4 if trainable else 0)


@pytest.mark.slow
def test_nasnet_large_as_a_whole():
    """Paths and sizes from a graph that holds no number; then a frozen one's real maps."""
    with tf.Graph().as_default():
        planned = build_levels(LevelsConfig(kind="nasnet_large"))
        paths = [(weight.path, tuple(weight.shape)) for weight in planned.weights]
        maps = planned.maps(tf.zeros([1, 299, 299, 3]))
        assert {name: tuple(value.shape[1:]) for name, value in maps.items()} == planned.shapes()
    assert planned.count_params() == 84_916_818
    config = LevelsConfig(kind="nasnet_large", height=64, width=64)
    backbone = build_levels(config)
    # Weights have their places whatever the images' size.
    assert [(weight.path, tuple(weight.shape)) for weight in backbone.weights] == paths
    assert not backbone.trainable_variables
    maps = backbone.maps(images_of(config, 1), training=True)
    assert {name: tuple(value.shape[1:]) for name, value in maps.items()} == backbone.shapes()
    assert all(np.isfinite(value).all() for value in maps.values())
