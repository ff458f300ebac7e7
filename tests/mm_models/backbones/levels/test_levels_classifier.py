"""Classes from the regions of several levels: pooling by hand, averages, maps."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.levels.classifier import (
    LevelsClassifier,
    LevelsClassifierConfig,
    RegionClassifier,
)
from mm_models.backbones.levels.config import LevelsConfig
from mm_models.errors import UserError
from tests import batteries


def config_of(**fields):
    visual = LevelsConfig(
        widths=[8, 16], blocks_per_stage=[2, 2], height=16, width=24, trainable=True
    )
    return LevelsClassifierConfig(visual=visual, num_classes=3, **fields)


def video(*shape):
    return tf.random.stateless_uniform([*shape, 16, 24, 3], (1, 2), -1.0, 1.0)


@pytest.mark.parametrize(
    ("pool", "fine", "coarse"),
    [
        # Of the regions' logits 1, 2, 3 and 6 of one level, and -1 and 1 of the other.
        ("mean", 3.0, 0.0),
        ("max", 6.0, 1.0),
        ("smooth_max", np.log(np.exp([2.0, 4, 6, 12]).mean()) / 2, np.log(np.cosh(2.0)) / 2),
    ],
)
def test_regions_are_pooled(pool, fine, coarse):
    layer = two_levels(pool)
    maps = {
        "fine": tf.reshape([1.0, 2.0, 3.0, 6.0], [1, 2, 2, 1]),
        "coarse": tf.reshape([-1.0, 1.0], [1, 1, 2, 1]),
    }
    np.testing.assert_allclose(layer(maps), [[(fine + coarse) / 2 + 0.5, 0.5]], rtol=1e-6)


def test_in_training_a_level_may_be_drawn_for_each_image():
    layer, images = two_levels("mean", "random"), 400
    maps = {"fine": tf.ones([images, 2, 2, 1]), "coarse": tf.zeros([images, 1, 2, 1])}
    np.testing.assert_allclose(layer(maps), [[1.0, 0.5]] * images)
    drawn = layer(maps, training=True, seed=tf.constant([1, 2]))[:, 0].numpy()
    assert set(drawn.tolist()) == {0.5, 1.5}
    assert 160 < (drawn == 1.5).sum() < 240
    other = layer(maps, training=True, seed=tf.constant([1, 3]))[:, 0].numpy()
    assert (drawn != other).any()


def two_levels(pool, level="all"):
    layer = RegionClassifier(2, pool, sharpness=2.0, level=level, head_bias=0.5)
    layer.build({"fine": (None, 2, 2, 1), "coarse": (None, 1, 2, 1)})
    for dense in (layer.of_fine, layer.of_coarse):
        dense.kernel.assign([[1.0, 0.0]])
    return layer


@pytest.mark.parametrize("pool", ["smooth_max", "max"])
def test_battery(pool, tmp_path):
    config = config_of(pool=pool, head_bias=-2.0)
    inputs = {"video": video(2, 1)}
    if pool == "smooth_max":
        batteries.check_model(lambda dtype: LevelsClassifier(config, dtype=dtype), inputs, tmp_path)
    else:
        model = LevelsClassifier(config)
        batteries.check_gradients(model, lambda one: model(one, training=True), inputs)


def test_logits_are_averaged_over_frames_and_views():
    model = LevelsClassifier(config_of())
    clips = video(2, 4)
    frames = [model({"video": clips[:, index : index + 1]}) for index in range(4)]
    expected = np.mean(frames, axis=0)
    np.testing.assert_allclose(model({"video": clips}), expected, atol=1e-5)
    views = tf.reshape(clips, [2, 2, 2, 16, 24, 3])
    np.testing.assert_allclose(model({"video": views}), expected, atol=1e-5)


def test_feature_maps_are_those_of_the_last_level():
    model = LevelsClassifier(config_of())
    clips = video(2, 3)
    frames = [model.visual.maps(clips[:, index])["stage2_block2"] for index in range(3)]
    maps = model.feature_maps(clips)
    assert maps.shape == (2, 4, 6, 16)
    np.testing.assert_allclose(maps, np.mean(frames, axis=0), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"pool": "map"}, "pool is 'map'"),
        ({"sharpness": 0.0}, "sharpness is 0.0"),
        ({"level": "last"}, "level is 'last'"),
        ({"visual": LevelsConfig(norm="batch")}, "visual.norm is 'batch'"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(UserError, match=words):
        LevelsClassifier(LevelsClassifierConfig(**({"num_classes": 3} | fields)))
