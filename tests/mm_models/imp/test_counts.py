"""Parameters of the published sizes, tokens and operations, all without allocating."""

import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.imp import token_counts
from mm_models.imp.config import ImpConfig, resolve
from mm_models.imp.encoder import make_stack
from mm_models.imp.model import ImpModel
from tests import parameter_counts
from tests.mm_models.imp.parameter_formulas import (
    active_parameters,
    encoder_parameters,
    projection_parameters,
)
from tests.mm_models.imp.small import MODALITIES, small

PUBLISHED = [
    ("imp_s", 21_243_648, 21_243_648),
    ("imp_b", 84_954_624, 84_954_624),
    ("imp_l", 302_041_088, 302_041_088),
    ("imp_moe_s", 42_488_064, 21_254_400),
    ("imp_moe_b", 509_703_168, 85_029_888),
    ("imp_moe_l", 1_057_117_184, 302_142_464),
]


@pytest.mark.parametrize(("size", "parameters", "active"), PUBLISHED)
def test_encoders_of_the_published_sizes(size, parameters, active):
    config = resolve(ImpConfig(size=size))
    assert encoder_parameters(config) == parameters
    assert active_parameters(config) == active
    with tf.Graph().as_default():
        stack = make_stack(config, dtype="float32")
        stack.build()
        assert parameter_counts.scalars(stack.trainable_weights) == parameters


def test_names_and_shapes_of_a_sparse_block():
    with tf.Graph().as_default():
        stack = make_stack(resolve(ImpConfig(size="imp_moe_s")), dtype="float32")
        stack.build()
        block = stack.blocks[0]
        shapes = {
            weight.path.split("block_0/")[-1]: tuple(weight.shape) for weight in block.weights
        }
    assert sorted(shapes.values()) == sorted(
        [(384,)] * 2 + [(64,)] * 2 + [(384, 384)] * 4 + [(384, 1536), (1536, 384)]
    )
    assert not any("bias" in name or "beta" in name for name in shapes)
    assert [w.path.split("/")[-2] for w in stack.final_norm.weights] == ["final_norm"] * 2


@pytest.mark.parametrize("size", ["imp_b", "imp_moe_b"])
def test_whole_models(size):
    config = ImpConfig(size=size, modalities=MODALITIES, classifiers={"k400": 400})
    parts = parameter_counts.count(lambda: ImpModel(config)).by_part
    dim = 768
    tables = (16 + 32 + 32) + (64 + 8) + 512 + 4096
    raw = (3072 + 1) + (256 + 1) + (256 + 1) + 32100
    norms = 4 * 2
    assert projection_parameters(config) == 1_181_184
    expected = encoder_parameters(config) + 4 * 1_181_184 + (tables + raw + norms) * dim
    assert parts["encoder"] == expected
    assert parts["spaces"] == 16 * ((768 + 1) * 1024 + (1024 + 1) * 1024 + 2 * 1024)
    assert parts["temperatures"] == 10
    assert parts["k400_classifier"] == 769 * 400
    # 86 million, as the released code's table says.
    base = encoder_parameters(ImpConfig(size="imp_b")) + projection_parameters(config)
    assert round(base / 1e6, 1) == 86.1


def test_counting_allocates_nothing_and_equals_what_is_built():
    config = small(MODALITIES, pooling="token", shared_encoder=False)
    model = ImpModel(config)
    assert parameter_counts.count(lambda: ImpModel(config)).trainable == parameter_counts.scalars(
        model.trainable_weights
    )


@pytest.mark.parametrize(
    ("shapes", "options", "tokens"),
    [
        ({"video": (1, 256, 256, 3), "text": (16,)}, {}, 256 + 16),
        ({"video": (16, 256, 256, 3)}, {}, 1024),
        ({"video": (4, 256, 256, 3)}, {}, 256),
        ({"video": (16, 256, 256, 3), "audio": (131072,)}, {"drop_token": {"video": 0.75}}, 320),
        ({"text": (3, 16)}, {}, 48),
        ({"video": (4, 16, 256, 256, 3)}, {}, 4096),
        ({"waveform": (131072,)}, {}, 512),
    ],
)
def test_tokens_of_the_published_loaders(shapes, options, tokens):
    assert token_counts.tokens_per_example(ImpConfig(), shapes, **options) == tokens


@pytest.mark.parametrize(
    ("frames", "side", "rate"),
    [
        (16, 256, 0.75),
        (32, 256, 0.875),
        (16, 128, 0.0),
        (64, 128, 0.75),
        (1, 256, 0.0),
        (1, 512, 0.75),
    ],
)
def test_a_ladder_of_resolutions_has_one_number_of_tokens(frames, side, rate):
    shapes = {"video": (frames, side, side, 3)}
    assert token_counts.tokens_per_example(ImpConfig(), shapes, drop_token={"video": rate}) == 256


@pytest.mark.parametrize(
    ("shapes", "options", "words"),
    [
        ({"video": (16, 250, 256, 3)}, {}, "video height is 250"),
        ({"video": (128, 256, 256, 3)}, {}, "more than video.table_rows"),
        ({"video": (16, 256, 256, 3)}, {"patch": "fine"}, "no patches named 'fine'"),
        ({"audio": (100,)}, {}, "holds no whole patch"),
        ({"text": (5000,)}, {}, "more than text.max_tokens"),
        ({"video": (1, 16, 16, 3)}, {"drop_token": {"video": 0.5}}, "leaves none of 1 tokens"),
        ({"video": (1, 16, 16, 3)}, {"drop_token": {"video": 1.0}}, "below 1"),
    ],
)
def test_inputs_that_do_not_fit_are_told(shapes, options, words):
    with pytest.raises(UserError, match=words):
        token_counts.tokens_per_example(ImpConfig(), shapes, **options)
