"""VATT as a whole: the battery, replicas, presets, fit."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.losses.contrastive import nce_loss
from mm_models.vatt.config import VattConfig, named_config
from mm_models.vatt.model import VattModel
from tests import batteries
from tests.mm_models.vatt.contrastive_model import ContrastiveVatt

BATCH = 4


def batch_of(config: VattConfig, batch: int = BATCH, candidates: int = 3) -> dict:
    random = np.random.default_rng(0)
    video, audio, text = config.video, config.audio, config.text
    assert (video.size, audio.size, text.size) == ("debug",) * 3
    ids = random.integers(1, 64, size=(batch, candidates, 8)).astype(np.int32)
    ids[:, :, 5:] = 0
    ids[0, 1] = 0
    return {
        "video": tf.constant(random.uniform(-1, 1, (batch, 4, 16, 16, 3)), tf.float32),
        "audio": tf.constant(random.uniform(-1, 1, (batch, 1024)), tf.float32),
        "text": tf.constant(ids),
    }


def with_dropout(name: str, rate: float = 0.1) -> VattConfig:
    """One layer, because what several do to each other is tested where stacks are."""
    config = named_config(name)
    encoders = [config.shared] if config.variant == "agnostic" else []
    encoders = encoders or [config.video, config.audio, config.text]
    for encoder in encoders:
        encoder.dropout_rate = encoder.attention_dropout_rate = rate
        encoder.num_layers = 1
    return config


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("debug", "reference_code"),
        pytest.param("unified_debug", "paper", marks=pytest.mark.slow),
    ],
)
def test_battery(name, preset, tmp_path):
    config = with_dropout(name)
    config.preset = preset
    batteries.check_model(
        lambda dtype: VattModel(config, dtype=dtype),
        batch_of(config),
        tmp_path,
        mixed_tolerance=0.25,
    )


@pytest.mark.parametrize("head", ["fac", "mlp_joint"])
def test_paper_preset_and_joint_head(head):
    config = with_dropout("debug")
    assert config.preset == "paper"
    config.head.kind = head
    config.video.drop_token_per_sample = True
    model, inputs = VattModel(config), batch_of(config)

    def train(values):
        return model(values, training=True, seed=batteries.seed())

    batteries.check_compiles(train, inputs, 1e-4)
    batteries.check_gradients(model, train, inputs)
    assert not any("layer_norm" in w.path and "positions" in w.path for w in model.weights)
    names = [weight.path for weight in model.weights if weight.path.endswith("gamma")]
    num_norms = sum("head" in name for name in names)
    assert num_norms == (5 if head == "fac" else 3)


def without_dropout(name: str) -> VattConfig:
    return with_dropout(name, rate=0.0)


def two_losses(model, values, gather):
    outputs = model(values, training=True, seed=batteries.seed())
    audio = nce_loss(outputs["video_va"], outputs["audio_va"], gather=gather)
    text = nce_loss(
        outputs["video_vt"],
        outputs["text_vt"],
        anchor_mask=values["text_mask"],
        gather=gather,
    )
    return (audio.sum + text.sum) / 2.0, audio.weight


@pytest.mark.parametrize(
    ("name", "num_replicas"),
    [pytest.param("debug", 4, marks=pytest.mark.slow), ("unified_debug", 2)],
)
def test_replicas_agree_with_one_device(name, num_replicas):
    config = without_dropout(name)
    config.video.drop_token_rate = config.audio.drop_token_rate = 0.0
    inputs = batch_of(config, batch=8)
    # Uneven on purpose: one replica of four has no valid text at all.
    inputs["text_mask"] = tf.constant([1, 0, 1, 1, 1, 1, 0, 0], tf.float32)
    model = VattModel(config)
    weights = [weight.numpy() for weight in model.weights]
    with tf.GradientTape() as tape:
        total, weight = two_losses(model, inputs, lambda values: values)
        loss = total / weight
    variables = [weight.value for weight in model.trainable_weights]
    expected = [np.asarray(value) for value in tape.gradient(loss, variables)]
    got_loss, got = batteries.replicated_gradients(
        lambda: VattModel(config), weights, two_losses, inputs, num_replicas
    )
    assert abs(got_loss - float(loss)) < 1e-5
    scale = np.sqrt(sum(np.sum(value**2) for value in expected))
    error = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(got, expected, strict=True)))
    assert error / scale < 1e-4
    for one, other in zip(got, expected, strict=True):
        # Some are 0 up to rounding: a bias of the keys, for one, moves no softmax.
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max() + 1e-6 * scale)


@pytest.mark.parametrize("name", ["debug", pytest.param("unified_debug", marks=pytest.mark.slow)])
def test_trains_through_fit(name):
    config = with_dropout(name)
    # Each variant learns one of the two losses here; together they are learned below.
    config.modalities = ["video", "text"] if name == "debug" else ["video", "audio"]
    model = ContrastiveVatt(config)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), jit_compile=True)
    inputs = batch_of(config, batch=8)
    values = {modality: inputs[modality] for modality in config.modalities}
    values[f"{config.modalities[1]}_mask"] = tf.constant([1.0] * 6 + [0.0] * 2)
    data = tf.data.Dataset.from_tensors(values).repeat(60)
    history = model.fit(data, epochs=1, steps_per_epoch=3, verbose=0).history["loss"]
    later = model.fit(data, epochs=1, steps_per_epoch=50, verbose=0).history["loss"]
    assert later[-1] < history[0] - 0.3


@pytest.mark.slow
def test_trains_through_fit_under_a_strategy():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    config = without_dropout("debug")
    with strategy.scope():
        model = ContrastiveVatt(config)
        model.compile(optimizer=keras.optimizers.Adam(3e-3), jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices(batch_of(config, batch=8)).batch(8).repeat()
    losses = model.fit(data, epochs=2, steps_per_epoch=10, verbose=0).history["loss"]
    assert losses[1] < losses[0]


def test_pooled_is_row_zero_of_the_features():
    for name in ("debug", "unified_debug"):
        config = named_config(name)
        model, inputs = VattModel(config), batch_of(config)
        inputs["text"] = inputs["text"][:, 0]
        pooled = model.encode(inputs)
        for modality in inputs:
            rows = model.features(modality, inputs[modality])
            batteries.assert_close(pooled[modality], rows[:, 0], 1e-6)


def test_views_and_candidates_are_an_axis_of_the_result():
    config = named_config("debug")
    model, inputs = VattModel(config), batch_of(config)
    views = {
        "video": tf.stack([inputs["video"], -inputs["video"]], axis=1),
        "audio": tf.stack([inputs["audio"], -inputs["audio"]], axis=1),
        "text": inputs["text"],
    }
    outputs = model(views)
    assert outputs["video"].shape == (BATCH, 2, 32)
    assert outputs["audio_va"].shape == (BATCH, 2, 16)
    assert outputs["text_vt"].shape == (BATCH, 3, 8)
    second = model({"video": -inputs["video"], "audio": -inputs["audio"]})
    for name in ("video_va", "video_vt", "audio_va"):
        batteries.assert_close(outputs[name][:, 1], second[name], 1e-5)
    with pytest.raises(UserError, match="at most one axis"):
        model({"video": views["video"][:, None]})


def test_padding_of_a_caption_changes_nothing():
    config = named_config("debug")
    model = VattModel(config)
    short = tf.constant([[3, 4, 5, 0, 0, 0, 0, 0]])
    table = model.word_table.numpy()
    table[0] += 10.0
    before = model.encode({"text": short})["text"]
    model.set_word_vectors(table)
    batteries.assert_close(model.encode({"text": short})["text"], before, 1e-5)
    batteries.assert_close(model.encode({"text": short[:, :3]})["text"], before, 1e-5)


def test_frozen_word_table_is_not_trained_and_its_shape_is_checked():
    config = named_config("debug")
    config.text.trainable_embeddings = False
    model = VattModel(config)
    assert not any(weight is model.word_table for weight in model.trainable_weights)
    with pytest.raises(UserError, match="text.vocabulary_size"):
        model.set_word_vectors(np.zeros((3, 16)))


def test_seeds_decide_what_is_drawn():
    config = with_dropout("debug")
    model, inputs = VattModel(config), batch_of(config)
    one = model.encode(inputs, training=True, seed=tf.constant([1, 2]))
    same = model.encode(inputs, training=True, seed=tf.constant([1, 2]))
    other = model.encode(inputs, training=True, seed=tf.constant([1, 3]))
    drawn = model.encode(inputs, training=True), model.encode(inputs, training=True)
    for modality in inputs:
        batteries.assert_close(one[modality], same[modality], 0.0)
        assert np.abs(one[modality] - other[modality]).max() > 1e-3
        assert np.abs(drawn[0][modality] - drawn[1][modality]).max() > 1e-3


def test_every_pair_has_its_spaces():
    model = VattModel(named_config("debug"))
    assert model.spaces("video", "text") == ("video_vt", "text_vt")
    assert model.spaces("text", "video") == ("text_vt", "video_vt")
    assert model.spaces("audio", "video") == ("audio_va", "video_va")
    assert model.spaces("audio", "text") == ("audio_vt", "text_vt")
    with pytest.raises(UserError, match="name two modalities"):
        model.spaces("text", "text")
    with pytest.raises(UserError, match="has no waveform"):
        model.spaces("waveform", "text")


def test_two_modalities_only():
    config = dataclasses.replace(named_config("debug"), modalities=["video", "text"])
    model, inputs = VattModel(config), batch_of(config)
    outputs = model({name: inputs[name] for name in ("video", "text")})
    assert set(outputs) == {"video", "text", "video_va", "video_vt", "text_vt"}
    assert not any("audio" in weight.path for weight in model.weights)
    with pytest.raises(UserError, match="has no audio"):
        model(inputs)


def test_spectrogram_towers_take_waveforms():
    config = named_config("debug")
    config.audio.input = "spectrogram"
    config.audio.num_samples, config.audio.sample_rate_hz = 16000, 16000
    config.audio.num_bins, config.audio.patch_frames = 40, 8
    model = VattModel(config)
    wave = tf.sin(tf.range(16000, dtype=tf.float32) * 0.2)[None] * tf.constant([[0.5], [0.1]])
    rows = model.features("audio", wave)
    assert rows.shape == (2, 1 + (47 // 8) * (40 // 5), 32)
    # Each clip is scaled by its own range, so loudness alone hardly matters.
    batteries.check_compiles(lambda values: model.features("audio", values["wave"]), {"wave": wave})


@pytest.mark.parametrize("name", ["debug", "unified_debug"])
def test_maps_are_the_tokens_of_each_place_averaged_over_time(name):
    model = VattModel(named_config(name))
    video = batch_of(model.config)["video"][:, :, :, :8]
    maps = model.feature_maps(video).numpy()
    frames, height, width = model.config.video.patch_shape
    steps, rows, columns = 4 // frames, 16 // height, 8 // width
    assert maps.shape == (BATCH, rows, columns, model.pooled_dims["video"]) and steps > 1
    tokens = model.features("video", video).numpy()[:, 1:]
    for row in range(rows):
        for column in range(columns):
            places = [(step * rows + row) * columns + column for step in range(steps)]
            expected = tokens[:, places].mean(axis=1)
            np.testing.assert_allclose(maps[:, row, column], expected, atol=1e-5)
