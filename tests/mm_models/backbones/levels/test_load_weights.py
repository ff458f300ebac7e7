"""Weights that Keras wrote reach the layers of their names; other files are refused by name."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.levels.build import build_levels
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.backbones.levels.load_weights import load_weights
from mm_models.errors import UserError

CONVOLUTIONS = {"block1_conv1": (3, 64), "block1_conv2": (64, 64), "block2_conv1": (64, 128)}


def vgg16(weights="", levels=("block2_conv1",)):
    return build_levels(
        LevelsConfig(kind="vgg16", levels=list(levels), height=32, width=32, weights=str(weights))
    )


def beginning(names=tuple(CONVOLUTIONS), classes=5, filters=None):
    """The first layers of VGG-16 with a classifier, as small as files of weights come."""
    inputs = values = keras.Input([32, 32, 3])
    # Made last to first: neither the order nor automatic names say which layer is which.
    convs = {
        name: keras.layers.Conv2D(filters or CONVOLUTIONS[name][1], 3, padding="same", name=name)
        for name in reversed(names)
    }
    for name in names:
        values = convs[name](values)
    values = keras.layers.GlobalAveragePooling2D()(values)
    return keras.Model(inputs, keras.layers.Dense(classes, name="predictions")(values))


def write(model, path):
    """As this Keras does by the ending: weights alone, or a whole model in the layout of old."""
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.name.startswith("old"):
        # Weights alone in the layout of old, as the published files are.
        whole = path.with_name("whole.h5")
        model.save(whole)
        with h5py.File(whole) as source, h5py.File(path, "w") as target:
            for name, group in source["model_weights"].items():
                source.copy(group, target, name)
            target.attrs.update(source["model_weights"].attrs)
    else:
        model.save(path)
    return path


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["new.weights.h5", "model.h5", "old.h5"])
def test_every_layout(name, tmp_path):
    model = beginning()
    backbone = vgg16(write(model, tmp_path / name))
    (line,) = load_weights(backbone)
    assert line == f"visual: 3 layers from {tmp_path / name}, 1 of it left over"
    assert len(backbone.weights) == 6
    for weight in backbone.weights:
        layer, kind = weight.path.split("/")[-2:]
        np.testing.assert_array_equal(weight, getattr(model.get_layer(layer), kind))


def test_all_of_vgg16_by_keras(tmp_path):
    whole = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    whole.save_weights(tmp_path / "vgg16.weights.h5")
    levels = ("block4_conv1", "block4_conv3", "block5_conv1", "block5_conv3")
    backbone = vgg16(tmp_path / "vgg16.weights.h5", levels)
    images = tf.random.stateless_uniform([1, 32, 32, 3], (1, 2), -1.0, 1.0)
    before = backbone.maps(images)["block5_conv3"].numpy()
    (line,) = load_weights(backbone)
    assert "13 layers from" in line and line.endswith(", 0 of it left over")
    network = keras.Model(whole.input, whole.get_layer("block5_conv3").output)
    pixels = (images.numpy() + 1.0) * 127.5
    expected = network(keras.applications.vgg16.preprocess_input(pixels)).numpy()
    after = backbone.maps(images)["block5_conv3"].numpy()
    np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-3 * expected.max())
    assert np.abs(before - expected).max() > 0.1 * expected.max()


def test_a_file_of_another_machine(tmp_path):
    path = write(beginning(), tmp_path / "new.weights.h5")
    tf.io.gfile.copy(str(path), "ram://weights/new.weights.h5", overwrite=True)
    (line,) = load_weights(vgg16("ram://weights/new.weights.h5"))
    assert line.startswith("visual: 3 layers from ram://weights")


def test_no_file_is_named():
    assert load_weights(vgg16()) == []


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            lambda: beginning(["block1_conv1"]),
            "lacks 2 of 3 layers: block1_conv2; block2_conv1; give a file that Keras wrote",
        ),
        (
            lambda: beginning(filters=16),
            r"another shape 3 of 3 layers: block1_conv1 \[\[3, 3, 3, 16\], \[16\]\] instead of "
            r"\[\[3, 3, 3, 64\], \[64\]\]",
        ),
    ],
)
def test_weights_of_another_network(model, words, tmp_path):
    backbone = vgg16(write(model(), tmp_path / "other.weights.h5"))
    before = [weight.numpy() for weight in backbone.weights]
    with pytest.raises(UserError, match=words):
        load_weights(backbone)
    for weight, value in zip(backbone.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def _of_features(path):
    with h5py.File(path, "w") as file:
        file["video/segment/features"] = np.zeros(3)


def _cut_off(path):
    whole = write(beginning(), path.with_name("whole.weights.h5")).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("weights"), "is no HDF5 file"),
        (lambda path: beginning().save(path.with_suffix(".keras")) or path.with_suffix(".keras")
            .rename(path), "is no HDF5 file"),
        (_of_features, "cannot be read"),
        (_cut_off, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_weights(make, words, tmp_path):
    path = tmp_path / "some.h5"
    make(path)
    with pytest.raises(UserError, match=rf"visual.weights is '.*some.h5', which {words}"):
        load_weights(vgg16(path))
