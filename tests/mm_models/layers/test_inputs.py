"""Patches, positions, DropToken, the aggregate token, dropout and embeddings."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers import randomness
from mm_models.layers.batch_norm import SyncBatchNorm
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.tokens import drop_token, patches
from mm_models.layers.tokens.aggregate_token import AggregateToken
from mm_models.layers.tokens.drop_token import DropToken
from mm_models.layers.tokens.patches import PatchEmbedding
from mm_models.layers.tokens.positions import AxisPositions, resampling_matrix
from mm_models.layers.tokens.word_embedding import WordEmbedding
from mm_models.layers.transformer.normalization import RmsNorm
from mm_models.vatt.config import named_config, resolve
from mm_models.vatt.tokens import PatchTokens, WordTokens
from mm_models.vatt.towers import make_tokens
from tests import batteries


def test_patch_maps_are_strided_convolutions():
    video = tf.random.stateless_normal([2, 4, 6, 8, 3], (1, 1))
    layer = PatchEmbedding("video", (2, 3, 4), 5)
    tokens = layer(video)
    kernel = tf.reshape(layer.projection.kernel, [2, 3, 4, 3, 5])
    expected = tf.nn.conv3d(video, kernel, [1, 2, 3, 4, 1], "VALID") + layer.projection.bias
    batteries.assert_close(tokens, tf.reshape(expected, [2, 8, 5]), 1e-5)
    wave = tf.random.stateless_normal([2, 19], (1, 2))
    layer = PatchEmbedding("waveform", (4,), 5)
    tokens = layer(wave)
    kernel = tf.reshape(layer.projection.kernel, [4, 1, 5])
    expected = tf.nn.conv1d(wave[..., None], kernel, 4, "VALID")
    batteries.assert_close(tokens, expected, 1e-5)
    spectrogram = tf.random.stateless_normal([2, 7, 6], (1, 3))
    layer = PatchEmbedding("spectrogram", (3, 2), 5)
    got = layer(spectrogram)
    kernel = tf.reshape(layer.projection.kernel, [3, 2, 1, 5])
    expected = tf.nn.conv2d(spectrogram[..., None], kernel, [3, 2], "VALID")
    batteries.assert_close(got, tf.reshape(expected, [2, 6, 5]), 1e-5)


def test_blocks_that_do_not_divide_a_video_are_told():
    with pytest.raises(UserError, match="video height is 6"):
        patches.split_video(tf.zeros([1, 4, 6, 8, 3]), (2, 4, 4))


def test_resampled_positions():
    rows = np.array([0.0, 1.0, 0.0, 2.0])
    expected = [0, 0.938272, 0.661728, 0, 1.056790, 2.977778]
    np.testing.assert_allclose(resampling_matrix(4, 6) @ rows, expected, atol=2e-6)
    sine = resampling_matrix(14, 20) @ np.sin(np.arange(14))
    np.testing.assert_allclose(sine[:5], [0, 0.64339, 0.98236, 0.86315, 0.33370], atol=6e-6)
    assert sine[19] == pytest.approx(0.73021, abs=6e-6)
    np.testing.assert_allclose(resampling_matrix(9, 9), np.eye(9), atol=1e-6, rtol=1e-4)
    line = resampling_matrix(1200, 600) @ np.arange(1200.0)
    np.testing.assert_allclose(line, np.arange(600) * 2.0, atol=1e-2)


def test_positions_are_the_normalised_sum_of_one_row_per_axis():
    layer = AxisPositions({"temporal": 2, "vertical": 3, "horizontal": 4}, 5)
    layer.build()
    batteries.shake(layer)
    zeros = tf.zeros([1, 24, 5])
    added = layer(zeros, grid=(2, 3, 4)).numpy()[0]
    t, v, h = (table.numpy() for table in layer.tables)
    total = t[1] + v[2] + h[3]
    normed = (total - total.mean()) / np.sqrt(total.var() + 1e-6)
    normed = normed * layer.layer_norm.gamma.numpy() + layer.layer_norm.beta.numpy()
    np.testing.assert_allclose(added[1 * 12 + 2 * 4 + 3], normed, rtol=1e-4, atol=1e-5)
    plain = AxisPositions({"temporal": 2, "vertical": 3}, 5, use_layer_norm=False)
    plain.build()
    a, b = (table.numpy() for table in plain.tables)
    np.testing.assert_allclose(
        plain(tf.zeros([1, 6, 5]), grid=(2, 3))[0, 4], a[1] + b[1], rtol=1e-5
    )
    assert layer(tf.zeros([1, 60, 5]), grid=(2, 5, 6)).shape == (1, 60, 5)


def test_drop_token_counts_and_sharing():
    assert [drop_token.num_kept(1568, 0.5), drop_token.num_kept(1200, 0.5)] == [784, 600]
    assert drop_token.num_kept(10, 0.9) == 1
    numbers = tf.tile(tf.range(1568.0)[None, :, None], [3, 1, 1])
    shared = DropToken(784)
    kept = shared(numbers, training=True, seed=batteries.seed()).numpy()[..., 0]
    assert kept.shape == (3, 784)
    assert (kept[0] == kept[1]).all() and len(set(kept[0])) == 784
    own = DropToken(784, per_sample=True)(numbers, training=True, seed=batteries.seed()).numpy()
    assert not (own[0] == own[1]).all() and len(set(own[1, :, 0])) == 784
    assert shared(numbers).shape == (3, 1568, 1)
    with pytest.raises(ValueError, match="needs a seed"):
        shared(numbers, training=True)


def test_every_token_is_kept_equally_often():
    numbers = tf.range(8.0)[None, :, None]
    layer = DropToken(4, per_sample=True)
    kept = layer(tf.tile(numbers, [400, 1, 1]), training=True, seed=batteries.seed())
    counts = np.bincount(kept.numpy().astype(int).ravel(), minlength=8)
    assert abs(counts / 400 - 0.5).max() < 0.12


@pytest.mark.parametrize("per_sample", [False, True])
def test_choosing_first_gives_what_dropping_last_gives(per_sample):
    """The tokens that are computed are those that the plain order of work would have kept."""
    config = named_config("debug")
    config.video.drop_token_per_sample = per_sample
    layer = make_tokens(resolve(config), "video", dtype="float32")
    layer.build()
    batteries.shake(layer)
    video = tf.random.stateless_uniform([3, 4, 16, 16, 3], (1, 1))
    fast = layer(video, training=True, seed=batteries.seed())
    every = layer(video)[:, 1:]
    kept = layer.drop_token.choose(
        3, 8, training=True, seed=randomness.fold_in(batteries.seed(), "drop_token")
    )
    plain = layer.aggregate(drop_token.take_tokens(every, kept))
    assert fast.shape == (3, 5, 32) and every.shape == (3, 8, 32)
    batteries.assert_close(fast, plain, 1e-5)


def test_paper_sized_tokens_without_allocating_towers():
    config = named_config("mbs")
    config.video.dim = config.audio.dim = config.text.dim = 4
    config.text.vocabulary_size = 10
    config = resolve(config)
    shapes = {"video": [1, 32, 224, 224, 3], "audio": [1, 153600], "text": [1, 16]}
    for modality, train, evaluate in (("video", 785, 1569), ("audio", 601, 1201), ("text", 17, 17)):
        layer = make_tokens(config, modality, dtype="float32")
        kind = tf.int32 if modality == "text" else tf.float32
        for training, expected in ((True, train), (False, evaluate)):
            traced = tf.function(
                lambda x, layer=layer, training=training: layer(
                    x, training=training, seed=batteries.seed()
                )
            ).get_concrete_function(tf.TensorSpec(shapes[modality], kind))
            assert traced.structured_outputs.shape[1] == expected


def test_aggregate_token_is_row_zero():
    layer = AggregateToken()
    rows = tf.random.stateless_normal([2, 3, 6], (1, 1))
    out = layer(rows)
    np.testing.assert_array_equal(out[:, 0], np.tile(layer.embedding.numpy(), (2, 1)))
    np.testing.assert_array_equal(out[:, 1:], rows)


def test_dropout_share_scale_and_inference():
    layer, ones = StatelessDropout(0.25), tf.ones([200, 100])
    out = layer(ones, training=True, seed=batteries.seed()).numpy()
    assert sorted(np.unique(out)) == pytest.approx([0.0, 4.0 / 3.0])
    assert abs((out == 0).mean() - 0.25) < 0.01
    np.testing.assert_array_equal(layer(ones), ones)
    with pytest.raises(ValueError, match="in \\[0, 1\\)"):
        StatelessDropout(1.0)


def test_seeds_fold_by_name_and_number():
    seed = batteries.seed()
    folded = [tuple(randomness.fold_in(seed, p).numpy()) for p in ("a", "b", 0, 1)]
    assert len(set(folded)) == 4
    assert folded[0] == tuple(randomness.fold_in(seed, "a").numpy())
    draws = randomness.uniform([10000], seed).numpy()
    assert draws.min() >= 0.0 and draws.max() < 1.0 and abs(draws.mean() - 0.5) < 0.02


def test_batch_norm_equals_hand_and_moves():
    layer = SyncBatchNorm()
    rows = np.random.default_rng(0).normal(3.0, 2.0, size=(6, 2, 4)).astype(np.float32)
    out = layer(tf.constant(rows), training=True).numpy()
    flat = rows.reshape(-1, 4).astype(np.float64)
    expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5)
    np.testing.assert_allclose(out.reshape(-1, 4), expected, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * flat.var(0), rtol=1e-5)
    near = tf.constant(100.0 + 1e-3 * rows)
    assert np.abs(layer(near, training=True)).max() > 1.0


def test_word_embedding_gradient_is_dense_and_counts_repeats():
    layer = WordEmbedding(5, 3, trainable=True)
    layer.build()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([[1, 1], [4, 1]])))
    gradient = tape.gradient(loss, layer.embeddings.value)
    assert isinstance(gradient, tf.Tensor)
    assert gradient.numpy()[:, 0].tolist() == [0.0, 3.0, 0.0, 0.0, 1.0]
    assert not WordEmbedding(5, 3, trainable=False).trainable


VIDEO = tf.random.stateless_uniform([3, 4, 8, 8, 3], (1, 1))
BATTERY = {
    "rms_norm": (lambda **kw: RmsNorm(**kw), tf.ones([3, 4]) * [[1.0, 2, 3, 5]], False),
    "batch_norm": (lambda **kw: SyncBatchNorm(**kw), VIDEO[:, 0, 0], False),
    "aggregate": (lambda **kw: AggregateToken(**kw), VIDEO[:, 0, 0], False),
    "drop_token": (lambda **kw: DropToken(3, True, **kw), VIDEO[:, 0], True),
    "dropout": (lambda **kw: StatelessDropout(0.4, **kw), VIDEO[:, 0], True),
    "patches": (lambda **kw: PatchEmbedding("video", (2, 4, 4), 6, **kw), VIDEO, False),
    "words": (
        lambda **kw: WordEmbedding(9, 4, trainable=True, **kw),
        tf.constant([[1, 2], [3, 0], [8, 8]]),
        False,
    ),
    "patch_tokens": (
        lambda **kw: PatchTokens(
            "video",
            (2, 4, 4),
            {"temporal": 2, "vertical": 2, "horizontal": 2},
            6,
            drop_token_rate=0.5,
            dropout_rate=0.1,
            pre_projection=True,
            **kw,
        ),
        VIDEO,
        True,
    ),
    "relative_words": (
        lambda **kw: WordTokens(9, 4, 6, trainable_embeddings=True, dropout_rate=0.1, **kw),
        tf.constant([[1, 2], [3, 0], [8, 8]]),
        True,
    ),
    "absolute_words": (
        lambda **kw: WordTokens(9, 4, 6, trainable_embeddings=True, num_positions=2, **kw),
        tf.constant([[1, 2], [3, 0], [8, 8]]),
        True,
    ),
}


@pytest.mark.parametrize("name", sorted(BATTERY))
def test_battery(name):
    make, inputs, draws = BATTERY[name]
    batteries.check_layer(make, {"inputs": inputs}, first="inputs", draws=draws)
