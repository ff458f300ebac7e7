"""Tokens: shapes of the paper's inputs, images as still clips, dropped tokens, mistakes."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.imp.config import ImpConfig, resolve
from mm_models.imp.tokens import make_tokens, pad_frames, text_mask
from tests import batteries
from tests.mm_models.imp.small import inputs, small


def tokeniser(modality: str, config: ImpConfig | None = None):
    layer = make_tokens(resolve(config or small([modality])), modality, dtype="float32")
    layer.build()
    return layer


@pytest.mark.parametrize(
    ("modality", "shape", "expected"),
    [
        ("video", (1, 1, 256, 256, 3), (1, 256, 3072)),
        ("video", (1, 16, 256, 256, 3), (1, 1024, 3072)),
        ("video", (1, 16, 128, 128, 3), (1, 256, 3072)),
        ("audio", (1, 131072), (1, 64, 256)),
        ("waveform", (1, 131072), (1, 512, 256)),
    ],
)
def test_raw_values_of_the_papers_inputs(modality, shape, expected):
    config = resolve(ImpConfig(size="imp_s", modalities=[modality]))
    with tf.Graph().as_default():
        layer = make_tokens(config, modality, dtype="float32")
        assert layer.raw(tf.zeros(shape)).shape == expected
        assert layer(tf.zeros(shape)).shape == (*expected[:2], 384)


def test_values_of_a_token_run_over_time_then_rows_then_columns_then_colours():
    video = tf.reshape(tf.range(4 * 16 * 16 * 3, dtype=tf.float32), [1, 4, 16, 16, 3])
    raw = tokeniser("video").raw(video).numpy()
    block = video.numpy()[0, 2:4, 8:16, 0:8]
    # Of a grid of 2 x 2 x 2, token 6 is the second in time and height and the first in width.
    np.testing.assert_array_equal(raw[0, 6], block.reshape(-1))


def test_an_image_is_a_still_clip_of_one_temporal_patch():
    layer = tokeniser("video", ImpConfig(size="imp_s", modalities=["video"]))
    image = tf.random.stateless_uniform([2, 1, 32, 32, 3], (1, 2), -1.0, 1.0)
    still = tf.tile(image, [1, 4, 1, 1, 1])
    np.testing.assert_array_equal(layer(image), layer(still))
    np.testing.assert_array_equal(layer.raw(image), layer.raw(still))


def test_frames_are_filled_up_with_the_last():
    video = tf.reshape(tf.range(6.0), [1, 6, 1, 1, 1])
    assert pad_frames(video, 4)[0, :, 0, 0, 0].numpy().tolist() == [0, 1, 2, 3, 4, 5, 5, 5]
    assert pad_frames(video, 3) is video
    assert tokeniser("video").raw(tf.zeros([1, 3, 16, 16, 3])).shape == (1, 2 * 4, 2 * 8 * 8 * 3)


def test_patches_of_other_sizes_have_maps_of_their_own():
    config = small(["video"])
    config.video.patches = {"default": [2, 8, 8], "fine": [2, 4, 4]}
    layer = tokeniser("video", config)
    video = inputs(["video"])["video"]
    assert layer(video).shape == (3, 8, 32)
    assert layer(video, patch="fine").shape == (3, 32, 32)
    assert layer.fine_patches.projection.kernel.shape == (2 * 4 * 4 * 3, 32)
    with pytest.raises(UserError, match="no patches named 'coarse'"):
        layer(video, patch="coarse")


@pytest.mark.parametrize(("rate", "kept"), [(0.75, 2), (0.5, 4), (0.3, 5), (0.9, None), (0.0, 8)])
def test_dropped_tokens_are_fewer_and_another_choice_for_every_example(rate, kept):
    layer = tokeniser("video")
    batteries.shake(layer)
    video = tf.repeat(inputs(["video"], batch=1)["video"], 6, axis=0)
    everything = layer(video).numpy()
    if kept is None:
        with pytest.raises(UserError, match="leaves none of 8 tokens"):
            layer(video, drop_rate=rate, training=True, seed=batteries.seed())
        return
    some = layer(video, drop_rate=rate, training=True, seed=batteries.seed()).numpy()
    assert some.shape == (6, kept, 32)
    chosen = []
    for row in range(6):
        distances = np.abs(some[row][:, None] - everything[row][None]).max(axis=-1)
        # A kept token is the token of one place, its position included.
        assert np.all(distances.min(axis=1) < 1e-5)
        chosen.append(frozenset(distances.argmin(axis=1).tolist()))
    assert all(len(places) == kept for places in chosen)
    assert len(set(chosen)) > 1 or kept == 8
    assert layer(video, drop_rate=rate).shape == (6, 8, 32)


def test_captions_have_a_mask_and_word_i_stands_at_row_i():
    layer = tokeniser("text")
    ids = tf.constant([[5, 6, 0, 0], [5, 0, 0, 0]])
    rows, mask = layer(ids), text_mask(ids)
    assert mask.numpy().tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_allclose(rows[0, 0], rows[1, 0], atol=1e-6, rtol=1e-4)
    np.testing.assert_allclose(layer(ids[:, :2]), rows[:, :2], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("modality", "shape", "words"),
    [
        ("video", (1, 10, 16, 16, 3), "along the temporal axis"),
        ("video", (1, 4, 20, 16, 3), "video height is 20"),
        ("waveform", (1, 100), "holds no whole patch"),
        ("waveform", (1, 4096), "32 tokens stand along the temporal axis"),
        ("text", (1, 17), "17 tokens stand along the temporal axis"),
    ],
)
def test_inputs_that_do_not_fit_are_told(modality, shape, words):
    kind = tf.int32 if modality == "text" else tf.float32
    with pytest.raises(UserError, match=words):
        tokeniser(modality)(tf.zeros(shape, kind))


@pytest.mark.parametrize("modality", ["video", "audio", "waveform", "text"])
def test_battery(modality):
    config = resolve(small([modality], dropout_rate=0.2))
    values = inputs([modality])[modality]
    if modality == "text":
        values = values[:, 0]
    batteries.check_layer(
        lambda dtype: make_tokens(config, modality, dtype=dtype),
        {"inputs": values},
        first="inputs",
        draws=True,
        mixed_tolerance=0.25,
    )
