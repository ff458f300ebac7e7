"""IMP as a whole: the battery, one encoder for all, instances, masks, classifiers, fit."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.imp.encoder import pool
from mm_models.imp.model import ImpModel
from mm_models.losses.contrastive import pair_nce_loss
from tests import batteries
from tests.mm_models.imp.small import MODALITIES, inputs, small, with_experts


@pytest.mark.parametrize("kind", [pytest.param("dense", marks=pytest.mark.slow), "experts"])
def test_battery(kind, tmp_path):
    make = {"dense": small, "experts": with_experts}[kind]
    config = make(["video", "text"], dropout_rate=0.1, temperature=FROZEN)
    batteries.check_model(
        lambda dtype: ImpModel(config, dtype=dtype),
        inputs(["video", "text"]),
        tmp_path,
        mixed_tolerance=0.35,
    )


def frozen_temperature():
    """Temperatures are the loss's, so that the model's outputs give them no gradient."""
    return dataclasses.replace(small().temperature, learned=False)


FROZEN = frozen_temperature()


@pytest.mark.parametrize(
    ("pooling", "space"),
    [("mean", "joint"), ("max", "disjoint"), ("sum", "disjoint"), ("token", "disjoint")],
)
def test_every_modality_learns_in_every_pooling_and_space(pooling, space):
    config = with_experts(MODALITIES, pooling=pooling, temperature=FROZEN)
    config.space = dataclasses.replace(config.space, kind=space)
    model, values = ImpModel(config), inputs(MODALITIES)

    def train(batch):
        return model(batch, training=True, seed=batteries.seed())

    batteries.check_gradients(model, train, values)
    outputs = model(values)
    assert all(value.dtype == tf.float32 for value in outputs.values())
    names = {
        name for pair in (("video", "text"), ("audio", "audio")) for name in model.spaces(*pair)
    }
    assert names <= set(outputs)


@pytest.mark.parametrize("make", [small, with_experts])
def test_a_batch_of_one_equals_its_row(make):
    model, values = ImpModel(make(MODALITIES)), inputs(MODALITIES, batch=5)
    batteries.shake(model, 0.05)
    batteries.check_row_alone(model, values, 1e-5)


def test_every_weight_of_the_blocks_serves_every_modality():
    model, values = ImpModel(with_experts(MODALITIES)), inputs(MODALITIES)
    encode = tf.function(lambda: model.encode(values).pooled)
    before = encode()
    for weight in model.encoder.stack.weights:
        kept = weight.numpy()
        weight.assign(kept + np.random.default_rng(2).normal(size=kept.shape).astype(np.float32))
        after = encode()
        for modality in MODALITIES:
            moved = np.abs(after[modality] - before[modality]).max()
            assert moved > 1e-7, f"{weight.path} does not change {modality}"
        weight.assign(kept)


def test_what_belongs_to_one_modality_changes_only_it():
    model, values = ImpModel(small(MODALITIES)), inputs(MODALITIES)
    before = model.encode(values).pooled
    for modality in MODALITIES:
        own = [w for w in model.encoder.weights if f"/{modality}_" in w.path]
        assert len(own) > 6
        kept = [weight.numpy() for weight in own]
        for weight in own:
            weight.assign(weight.numpy() * 1.5 + 0.1)
        after = model.encode(values).pooled
        changed = {m for m in MODALITIES if np.abs(after[m] - before[m]).max() > 1e-6}
        assert changed == {modality}
        for weight, value in zip(own, kept, strict=True):
            weight.assign(value)
    # All other weights of the encoder are those of the blocks and their final norm.
    rest = [w for w in model.encoder.weights if not any(f"/{m}_" in w.path for m in MODALITIES)]
    assert len(rest) == len(model.encoder.stack.weights)


def test_separate_encoders_share_nothing():
    model, values = ImpModel(small(shared_encoder=False)), inputs()
    before = model.encode(values).pooled
    for weight in model.text_encoder.weights:
        weight.assign(weight.numpy() * 1.5 + 0.1)
    after = model.encode(values).pooled
    batteries.assert_close(after["video"], before["video"], 0.0)
    batteries.assert_close(after["audio"], before["audio"], 0.0)
    assert np.abs(after["text"] - before["text"]).max() > 1e-3
    assert len(model.weights) > len(ImpModel(small()).weights)


def test_instances_are_an_axis_of_the_result():
    model, values = ImpModel(with_experts()), inputs()
    views = dict(values)
    for modality in ("video", "audio"):
        views[modality] = tf.stack([values[modality], -values[modality]], axis=1)
    outputs = model(views)
    assert outputs["video"].shape == (3, 2, 32)
    assert outputs["text_to_video"].shape == (3, 2, 16)
    for modality in ("video", "audio"):
        batteries.assert_close(outputs[modality][:, 0], model(values)[modality], 1e-5)
    with pytest.raises(UserError, match="at most one axis"):
        model({"video": views["video"][:, None]})


def test_padding_changes_nothing_and_empty_captions_are_zeros():
    model = ImpModel(small(["text"]))
    short = tf.constant([[3, 4, 5, 0, 0, 0]])
    before = model.encode({"text": short}).pooled["text"]
    batteries.assert_close(model.encode({"text": short[:, :3]}).pooled["text"], before, 1e-5)
    table = model.encoder.text_tokens.words.embeddings
    table.assign(
        table.numpy()
        + 10.0 * np.eye(64, 32, dtype=np.float32)[:1].T.sum() * (np.arange(64) == 0)[:, None]
    )
    batteries.assert_close(model.encode({"text": short}).pooled["text"], before, 1e-5)
    empty = model.encode({"text": tf.zeros([2, 6], tf.int32)}).pooled["text"]
    assert not np.any(empty)


def test_pooling_by_hand():
    rows = tf.constant([[[1.0, -4.0], [3.0, -2.0], [8.0, 9.0]]])
    mask = tf.constant([[1.0, 1.0, 0.0]])
    for kind, whole, masked in (
        ("mean", [4.0, 1.0], [2.0, -3.0]),
        ("max", [8.0, 9.0], [3.0, -2.0]),
        ("sum", [12.0, 3.0], [4.0, -6.0]),
        ("token", [1.0, -4.0], [1.0, -4.0]),
    ):
        np.testing.assert_allclose(pool(rows, None, kind), [whole], rtol=1e-6)
        np.testing.assert_allclose(pool(rows, mask, kind), [masked], rtol=2e-6)
        if kind != "token":
            assert not np.any(pool(rows, 0.0 * mask, kind))


def test_dropped_tokens_patches_and_seeds():
    config = small()
    config.video.patches = {"default": [2, 8, 8], "fine": [2, 4, 4]}
    model, values = ImpModel(config), inputs()

    def rows(**options):
        return model.encode(
            values, **({"training": True, "seed": batteries.seed()} | options)
        ).pooled

    whole, some = rows(), rows(drop_token={"video": 0.5})
    assert np.abs(whole["video"] - some["video"]).max() > 1e-3
    batteries.assert_close(whole["audio"], some["audio"], 0.0)
    batteries.assert_close(some, rows(drop_token={"video": 0.5}), 0.0)
    other = rows(drop_token={"video": 0.5}, seed=tf.constant([1, 1]))
    assert np.abs(other["video"] - some["video"]).max() > 1e-3
    batteries.assert_close(whole, model.encode(values, drop_token={"video": 0.5}).pooled, 1e-6)
    assert np.abs(rows(patch="fine")["video"] - whole["video"]).max() > 1e-3
    batteries.assert_close(rows(patch="fine")["text"], whole["text"], 0.0)
    drawn = [model.encode(values, training=True, drop_token={"video": 0.5}) for _ in range(2)]
    assert np.abs(drawn[0].pooled["video"] - drawn[1].pooled["video"]).max() > 1e-3
    with pytest.raises(UserError, match="drop_token names 'text'"):
        rows(drop_token={"text": 0.5})


@pytest.mark.parametrize(
    ("batch", "frames", "side", "rate"),
    [(2, 4, 32, 0.5), (4, 8, 32, 0.75), (3, 8, 16, 0.0), (2, 1, 32, 0.0), (2, 1, 64, 0.75)],
)
def test_a_ladder_of_resolutions_learns(batch, frames, side, rate):
    model = _ladder_model()
    video = tf.random.stateless_uniform([batch, frames, side, side, 3], (1, 2), -1.0, 1.0)
    weights = [weight.value for weight in model.encoder.trainable_weights]
    with tf.GradientTape() as tape:
        encoded = model.encode(
            {"video": video}, training=True, seed=batteries.seed(), drop_token={"video": rate}
        )
        loss = tf.reduce_sum(encoded.pooled["video"] ** 2)
    assert float(encoded.routings["video"][0].num_tokens) == 16 * batch
    assert all(np.all(np.isfinite(gradient)) for gradient in tape.gradient(loss, weights))


@functools.cache
def _ladder_model() -> ImpModel:
    return ImpModel(with_experts(["video"]))


def test_classifiers_average_instances():
    model = ImpModel(small(["video"], classifiers={"digits": 10, "actions": 4}))
    pooled = tf.random.stateless_normal([3, 2, 32], (1, 2))
    logits = model.classify(pooled, "digits")
    assert logits.shape == (3, 10) and logits.dtype == tf.float32
    each = [model.classify(pooled[:, view], "digits") for view in range(2)]
    batteries.assert_close(logits, (each[0] + each[1]) / 2, 1e-6)
    with pytest.raises(UserError, match="no classifier 'sounds'"):
        model.classify(pooled, "sounds")


def test_mistakes_are_told():
    model = ImpModel(small(["video", "text"]))
    with pytest.raises(UserError, match="has no audio"):
        model(inputs(["audio"]))
    with pytest.raises(UserError, match="has no waveform"):
        model.spaces("waveform", "text")
    with pytest.raises(UserError, match="an example has 4 axes"):
        model({"video": tf.zeros([2, 16, 16, 3])})


def test_statistics_of_the_experts_come_with_the_rows():
    model, values = ImpModel(with_experts()), inputs()
    encoded = model.encode(values)
    assert set(encoded.routings) == {"video", "audio", "text"}
    for modality, tokens in (("video", 3 * 8), ("text", 3 * 2 * 6)):
        (routing,) = encoded.routings[modality]
        assert float(routing.num_tokens) == tokens
        assert routing.load.shape == (3,)
    assert ImpModel(small()).encode(values).routings == {"video": (), "audio": (), "text": ()}


def gradients(model, values) -> tuple[list[np.ndarray], int]:
    """And how many softmaxes the graph has: of attention and routers."""
    weights = [weight.value for weight in model.encoder.trainable_weights]

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            encoded = model.encode(values, training=True, seed=batteries.seed())
            loss = tf.reduce_sum(encoded.pooled["text"] ** 2) + encoded.routings["text"][0].z_loss
        return tape.gradient(loss, weights)

    softmaxes = [
        op for op in step.get_concrete_function().graph.get_operations() if op.type == "Softmax"
    ]
    return [np.asarray(value) for value in step()], len(softmaxes)


def test_blocks_computed_twice_give_the_same_gradients():
    values, config = inputs(["text"]), with_experts(["text"], dropout_rate=0.2)
    plain = ImpModel(config)
    again = ImpModel(dataclasses.replace(config, rematerialize=True))
    again.set_weights(plain.get_weights())
    expected, once = gradients(plain, values)
    got, twice = gradients(again, values)
    assert twice == 2 * once
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * max(1.0, np.abs(other).max()))


@keras.saving.register_keras_serializable("mmstack_tests")
class Contrastive(ImpModel):
    """IMP with its loss inside, for `fit`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        first, second = (y_pred[name] for name in self.spaces("waveform", "text"))
        term = pair_nce_loss(first, second, temperature=self.temperature("waveform", "text"))
        return term.sum / term.weight


def test_trains_through_fit():
    config = small(["waveform", "text"])
    config.space = dataclasses.replace(config.space, kind="joint")
    model = Contrastive(config)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), jit_compile=False)
    data = tf.data.Dataset.from_tensors(inputs(["waveform", "text"], batch=8)).repeat(40)
    history = model.fit(data, epochs=2, steps_per_epoch=20, verbose=0).history["loss"]
    assert history[1] < history[0] - 0.3
    assert float(model.temperature("waveform", "text")) != pytest.approx(0.2)
