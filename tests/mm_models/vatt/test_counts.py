"""Parameter, token and operation counts against the published sizes."""

import dataclasses
import functools

import pytest
import tensorflow as tf

from mm_models.vatt import token_counts
from mm_models.vatt.classifier import VattClassifier
from mm_models.vatt.config import (
    AudioTowerConfig,
    VattConfig,
    VideoTowerConfig,
    named_config,
    resolve,
)
from mm_models.vatt.model import VattModel
from mm_models.vatt.towers import Tower, make_stack
from tests import parameter_counts

NON_TRAINABLE = 65536 * 300 + 2 * (512 + 512 + 256)


def reference(name: str) -> VattConfig:
    """The published counts are those of the released code."""
    return dataclasses.replace(named_config(name), preset="reference_code")


def encoder_size(layers: int, dim: int, hidden: int) -> int:
    attention, norms = 4 * (dim * dim + dim), 4 * dim
    return layers * (attention + 2 * dim * hidden + hidden + dim + norms) + 2 * dim


@pytest.mark.parametrize(
    ("name", "trainable", "variables", "head"),
    [
        ("bbs", 193_877_292, 480, 1_314_048),
        ("mbs", 260_905_772, 480, 1_445_120),
        ("lbs", 412_060_460, 672, 1_445_120),
        ("unified_base", 93_965_568, 244, 1_707_264),
        ("unified_medium", 162_990_336, 244, 1_707_264),
        ("unified_large", 314_145_024, 436, 1_707_264),
    ],
)
def test_whole_models(name, trainable, variables, head):
    counts = parameter_counts.count(lambda: VattModel(reference(name)))
    assert counts.trainable == trainable
    assert counts.non_trainable == NON_TRAINABLE == 19_663_360
    assert counts.num_variables == variables
    assert counts.by_part["head"] == head


def test_the_paper_preset_moves_few_weights():
    """No norm of summed positions; batch norm (two vectors) where audio and text had one bias."""
    counts = parameter_counts.count(lambda: VattModel(named_config("mbs")))
    assert counts.trainable == 260_905_772 - 2 * 1024 - 2 * 768 + 512 + 256
    assert counts.non_trainable == NON_TRAINABLE + 2 * (512 + 256)
    assert counts.num_variables == 480 - 2 * 2 + 2 * 3


@pytest.mark.parametrize(
    ("size", "encoder", "video", "audio"),
    [
        ("small", 18_915_328, 20_508_672, 19_597_312),
        ("base", 85_056_000, 87_446_016, 86_078_976),
        ("medium", 151_156_736, 154_343_424, 152_520_704),
        ("large", 302_311_424, 305_498_112, 303_675_392),
        ("xlarge", 528_915_456, 533_695_488, 530_961_408),
    ],
)
def test_towers(size, encoder, video, audio):
    config = resolve(
        VattConfig(
            preset="reference_code",
            video=VideoTowerConfig(size=size),
            audio=AudioTowerConfig(size=size),
        )
    )
    tower = config.video
    assert encoder_size(tower.num_layers, tower.dim, tower.mlp_dim) == encoder
    with tf.Graph().as_default():
        stack = make_stack(config, "video", dtype="float32")
        towers = [stack, *(Tower(modality, config) for modality in ("video", "audio", "text"))]
        for one in towers:
            one.build()
        sizes = [parameter_counts.scalars(one.trainable_weights) for one in towers]
    assert sizes == [encoder, video, audio, 19_038_252]


def test_classifiers_for_fine_tuning():
    config = reference("bbs")
    counts = parameter_counts.count(lambda: VattClassifier(config, "video", 400))
    assert (counts.trainable, counts.num_variables) == (87_753_616, 204)
    config.video.height = config.video.width = 320
    counts = parameter_counts.count(lambda: VattClassifier(config, "video", 400))
    assert counts.by_part["video_tower"] == 87_455_232
    # Table 7 of the paper counts a head of 600 classes.
    for size, millions in (("base", 87.9), ("medium", 155.0), ("large", 306.1)):
        config = VattConfig(preset="reference_code", video=VideoTowerConfig(size=size))
        counts = parameter_counts.count(functools.partial(VattClassifier, config, "video", 600))
        assert round(counts.trainable / 1e6, 1) == millions
    small = named_config("debug")
    logits = VattClassifier(small, "audio", 527)({"audio": tf.zeros([2, 3, 1024])})
    assert logits.shape == (2, 527)
    bias = VattClassifier(small, "audio", 527).classifier.bias.numpy()
    assert abs(bias[0] + 6.2653) < 1e-4


@pytest.mark.parametrize(
    ("modality", "training", "tokens"),
    [
        ("video", False, 1569),
        ("video", True, 785),
        ("audio", False, 1201),
        ("audio", True, 601),
        ("text", True, 17),
    ],
)
def test_tokens_of_the_published_model(modality, training, tokens):
    config = named_config("mbs")
    assert token_counts.tokens_per_example(config, [modality], training) == tokens


def test_tokens_of_other_resolutions_and_several_captions():
    config = named_config("mbs")
    config.video.height = config.video.width = 320
    assert token_counts.tokens_per_example(config, ["video"], False) == 3201
    config.video.height = config.video.width = 384
    config.video.num_frames = 4
    assert token_counts.tokens_per_example(config, ["video"], False) == 577
    config = named_config("mbs")
    assert token_counts.tokens_per_example(config, ["video", "text"], True, 5) == 785 + 5 * 17
