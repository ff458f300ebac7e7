"""Parameters, shapes and invariances of the model."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.levels.config import LevelsConfig
from mm_models.errors import UserError
from mm_models.grounding import config as grounding_config
from mm_models.grounding.config import GroundingConfig
from mm_models.grounding.mapping import DenseMap, LevelMap
from mm_models.grounding.model import GroundingModel
from mm_models.grounding.text_branch import LayerMix, TextBranch, both_ends
from tests import batteries


def count(layer):
    layer.build()
    return sum(int(np.prod(weight.shape)) for weight in layer.weights)


def debug_config(**fields):
    visual = LevelsConfig(kind="small", height=32, width=32, widths=[8, 8, 8])
    return GroundingConfig(**{"size": "debug", "visual": visual, "word_width": 8} | fields)


def some_text(rows=2, words=5, width=8, seed=0):
    random = np.random.default_rng(seed)
    layers = random.normal(size=(rows, words, 3, 2 * width)).astype(np.float32)
    lengths = random.integers(1, words + 1, size=rows)
    mask = np.float32(np.arange(words) < lengths[:, None])
    return layers * mask[..., None, None], mask


@pytest.mark.parametrize(
    ("channels", "widths", "kernel_size", "parameters"),
    [
        ((512, 512, 512, 512), (1024, 1024, 1024), 1, 10_498_048),
        ((2160, 2160, 4320, 4320), (2048, 2048, 1024), 1, 51_728_384),
        ((2016, 2016, 4032, 4032), (2048, 2048, 1024), 1, 49_958_912),
        ((512, 512, 512, 512), (1024,), 3, 18_878_464),
        ((2160, 2160, 4320, 4320), (1024,), 3, 119_443_456),
    ],
)
def test_maps_of_the_published_levels_have_the_published_parameters(
    channels, widths, kernel_size, parameters
):
    sizes = [
        sum(
            kernel_size**2 * before * after + after
            for before, after in zip((each, *widths), widths, strict=False)
        )
        for each in channels
    ]
    assert sum(sizes) == parameters


def test_maps_count_as_the_formula_that_the_published_numbers_follow():
    level = LevelMap(6, (4, 5), kernel_size=3)
    assert count(level) == 9 * 6 * 4 + 4 + 9 * 4 * 5 + 5
    assert count(DenseMap(1024, (1024, 1024))) == 2_099_200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Two maps; three shares and a gain of words; two shares of the sentence.
        ("contextual", 2 * 2_099_200 + 4 + 2),
        # Two maps, the published LSTM, two shares and an offset.
        ("recurrent", 2 * 2_099_200 + 4_198_400 + 3),
        ("plain", 2 * 2_099_200),
    ],
)
def test_text_branches_have_the_published_parameters(text, expected):
    config = grounding_config.resolve(GroundingConfig(text=text))
    assert count(TextBranch(config)) == expected


@pytest.mark.parametrize(
    ("kind", "preset", "grid"),
    [
        ("vgg16", "paper", (18, 18)),
        ("vgg16", "reference_code", (37, 37)),
        ("nasnet_large", "reference_code", (19, 19)),
        ("nasnet_large", "paper", (10, 10)),
    ],
)
def test_reference_sizes_of_the_published_backbones(kind, preset, grid):
    config = grounding_config.resolve(GroundingConfig(size=kind, preset=preset))
    assert grounding_config.reference_grid(config) == grid
    explicit = dataclasses.replace(config, reference_size="9x7")
    assert grounding_config.reference_grid(explicit) == (9, 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": "vgg"}, "size is 'vgg'"),
        ({"preset": "x"}, "preset is 'x'"),
        ({"mapping": "x"}, "mapping is 'x'"),
        ({"text": "x"}, "text is 'x'"),
        ({"normalize": "x"}, "normalize is 'x'"),
        ({"reference_size": "18"}, "reference_size is '18'"),
        ({"reference_size": "38x38"}, "larger than every level (37x37, 37x37, 18x18, 18x18)"),
        ({"text_widths": [64], "visual_widths": [32]}, "text_widths ends in 64"),
        ({"text_widths": []}, "text_widths is []"),
        ({"word_width": 0}, "word_width is 0"),
        ({"leaky_slope": -1.0}, "leaky_slope is -1.0"),
        ({"visual": LevelsConfig(kind="vgg16", levels=["x"])}, "visual.levels has 'x'"),
    ],
)
def test_configs_that_cannot_work_are_refused(fields, message):
    with pytest.raises(UserError) as raised:
        grounding_config.resolve(GroundingConfig(**fields))
    assert message in str(raised.value)


def test_shares_of_layers_by_hand():
    layers = tf.constant([[[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]]])
    mix = LayerMix(3, gain=True)
    mix.build()
    np.testing.assert_allclose(mix(layers), [[5 / 3, 2.0]], rtol=1e-6)
    mix.shares.assign(np.log([2.0, 1.0, 1.0]))
    mix.factor.assign(3.0)
    np.testing.assert_allclose(mix(layers), [[4.5, 4.5]], rtol=1e-6)
    free = LayerMix(2, softmax=False, bias=True)
    free.build()
    free.shares.assign([-1.0, 0.5])
    free.offset.assign(0.25)
    np.testing.assert_allclose(free(layers[:, 1:]), [[2.25, 0.25]], rtol=1e-6)


def test_ends_of_a_sentence_are_backward_at_its_first_word_and_forward_at_its_last():
    read = tf.constant([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    np.testing.assert_array_equal(both_ends(read, tf.constant([[1.0, 1.0, 0.0]])), [[2.0, 3.0]])
    np.testing.assert_array_equal(both_ends(read, tf.constant([[1.0, 1.0, 1.0]])), [[2.0, 5.0]])


@pytest.mark.parametrize("text", ["contextual", "recurrent", "plain"])
def test_padding_changes_no_word_and_no_sentence(text):
    config = grounding_config.resolve(debug_config(text=text))
    branch = TextBranch(config)
    layers, mask = some_text()
    short = branch(layers, mask)
    padding = ((0, 0), (0, 3))
    longer = branch(np.pad(layers, (*padding, (0, 0), (0, 0))), np.pad(mask, padding))
    np.testing.assert_allclose(longer.sentence, short.sentence, atol=1e-6)
    real = mask > 0
    np.testing.assert_allclose(
        longer.words.numpy()[:, :5][real], short.words.numpy()[real], atol=1e-6
    )


def test_words_alone_do_not_know_their_neighbours_and_contextual_ones_do():
    layers, mask = some_text()
    mask[:] = 1.0
    other = layers.copy()
    other[:, 1:] += 1.0
    for text, is_same in (("plain", True), ("recurrent", False)):
        branch = TextBranch(grounding_config.resolve(debug_config(text=text)))
        one, changed = (branch(each, mask).words[:, 0] for each in (layers, other))
        assert np.allclose(one, changed, atol=1e-6) == is_same


def test_vectors_are_unit_and_normalising_each_map_changes_them():
    layers, mask = some_text()
    found = {}
    for normalize in ("once", "each"):
        config = grounding_config.resolve(debug_config(normalize=normalize, text_widths=[8, 16]))
        branch = TextBranch(config)
        branch.build()
        for number, weight in enumerate(branch.weights):
            weight.assign(np.random.default_rng(number).normal(size=weight.shape))
        found[normalize] = branch(layers, mask)
        np.testing.assert_allclose(np.linalg.norm(found[normalize].words, axis=-1), 1.0, rtol=1e-5)
    assert not np.allclose(found["once"].words, found["each"].words, atol=1e-3)


@pytest.mark.parametrize("mapping", ["pointwise", "conv3x3"])
def test_frames_are_grounded_each_for_itself(mapping):
    model = GroundingModel(debug_config(mapping=mapping))
    random = np.random.default_rng(0)
    video = random.uniform(-1, 1, size=(2, 3, 32, 32, 3)).astype(np.float32)
    layers, mask = some_text()
    regions = model.embed_images(video)
    rows, columns = model.grid
    assert regions.shape == (2, 3, rows * columns, 4, 16)
    np.testing.assert_allclose(np.linalg.norm(regions, axis=-1), 1.0, rtol=1e-5)
    whole = model({"video": video, "phrase_layers": layers, "phrase_word_mask": mask})
    assert whole.heat.shape == (2, 6, 3, rows, columns, 4)
    assert whole.scores.shape == (2, 6, 3, 4)
    alone = model(
        {"video": video[1:, 2:], "phrase_layers": layers[1:], "phrase_word_mask": mask[1:]}
    )
    np.testing.assert_allclose(alone.heat[:, :, 0], whole.heat[1:, :, 2], atol=1e-5)
    np.testing.assert_allclose(alone.scores[:, :, 0], whole.scores[1:, :, 2], atol=1e-5)
    text = model.embed_words(layers, mask)
    vectors = np.concatenate([text.words, text.sentence[:, None]], axis=1)
    by_hand = np.maximum(np.einsum("bwd,bfrld->bwfrl", vectors, regions.numpy()), 0.0)
    np.testing.assert_allclose(whole.heat, by_hand.reshape(whole.heat.shape), atol=1e-5)


def test_model_battery(tmp_path):
    layers, mask = some_text()
    video = np.random.default_rng(0).uniform(-1, 1, size=(2, 1, 32, 32, 3))
    inputs = {
        "video": tf.constant(video, tf.float32),
        "phrase_layers": tf.constant(layers),
        "phrase_word_mask": tf.constant(mask),
    }
    batteries.check_model(
        lambda **options: GroundingModel(debug_config(), **options), inputs, tmp_path
    )


def test_compiled_or_not_levels_are_resized_alike():
    """From 12 x 12 and 6 x 6, the second of which XLA's own resizing gets wrong."""
    visual = LevelsConfig(kind="small", height=48, width=48, widths=[8, 8, 8])
    model = GroundingModel(GroundingConfig(size="debug", visual=visual, reference_size="10x10"))
    video = np.random.default_rng(0).uniform(-1, 1, size=(1, 1, 48, 48, 3)).astype(np.float32)
    compiled = tf.function(model.embed_images, jit_compile=True)
    np.testing.assert_allclose(compiled(tf.constant(video)), model.embed_images(video), atol=1e-4)
