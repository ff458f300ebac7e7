"""Published VATT checkpoints: their names, both ways, resampling, and what does not fit."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.checkpoints import mapping, weight_formats
from mm_models.checkpoints.containers.object_checkpoint import SUFFIX, ObjectCheckpointSource
from mm_models.checkpoints.weight_formats import Output
from mm_models.errors import UserError
from mm_models.vatt.classifier import VattClassifier
from mm_models.vatt.config import VattConfig, named_config
from mm_models.vatt.key_maps import KEY_MAPS
from mm_models.vatt.model import VattModel
from mm_models.vatt.published_keys import places

BASE = "model/layer_with_weights-0/_base_layer"
HEAD = "model/layer_with_weights-0/_head_layer/_bridge_heads/0"


def import_weights(model, source, allow=()) -> mapping.MappingReport:
    return mapping.load(places(model), source, allow=allow)


def reference(name: str) -> VattConfig:
    return dataclasses.replace(named_config(name), preset="reference_code")


def one_layer(name: str) -> VattConfig:
    config = reference(name)
    for encoder in (
        (config.shared,)
        if "unified" in name
        else (
            config.video,
            config.audio,
            config.text,
        )
    ):
        encoder.num_layers = 1
    return config


def norm(path: str, dim: int, batch: bool = False) -> dict:
    names = ("gamma", "beta", *(("moving_mean", "moving_variance") if batch else ()))
    return {f"{path}/{name}": (dim,) for name in names}


def block(path: str, dim: int, hidden: int) -> dict:
    """One layer of a video, audio or unified stack, and the norm behind the last."""
    inner = f"{path}/layers/0"
    keys = norm(f"{inner}/layer_norm", dim) | norm(f"{inner}/feed_forward/layer_norm", dim)
    for name in "qkvo":
        keys |= {f"{inner}/mha/{name}/kernel": (dim, dim), f"{inner}/mha/{name}/bias": (dim,)}
    mlp = f"{inner}/feed_forward/mlp"
    keys |= {f"{mlp}/wi/kernel": (dim, hidden), f"{mlp}/wi/bias": (hidden,)}
    keys |= {f"{mlp}/wo/kernel": (hidden, dim), f"{mlp}/wo/bias": (dim,)}
    return keys | norm(f"{path}/final_layer_norm", dim)


def head(widths: dict, fine: int = 16, coarse: int = 8) -> dict:
    return {
        f"{HEAD}/vid_to_hid/kernel": (widths["video"], fine),
        **norm(f"{HEAD}/hid_to_va/pre_bn", fine, batch=True),
        f"{HEAD}/hid_to_va/dense/kernel": (fine, fine),
        **norm(f"{HEAD}/hid_to_va/bn", fine, batch=True),
        f"{HEAD}/va_to_vat/dense/kernel": (fine, coarse),
        **norm(f"{HEAD}/va_to_vat/bn", coarse, batch=True),
        f"{HEAD}/aud_to_va/kernel": (widths["audio"], fine),
        f"{HEAD}/aud_to_va/bias": (fine,),
        f"{HEAD}/txt_to_vat/kernel": (widths["text"], coarse),
        f"{HEAD}/txt_to_vat/bias": (coarse,),
    }


def tables(path: str, rows: dict, dim: int = 32) -> dict:
    return {
        f"{path}/{axis}_position_embeddings/embeddings": (count, dim)
        for axis, count in rows.items()
    } | norm(f"{path}/layernorm", dim)


VIDEO_ROWS = {"temporal": 2, "vertical": 2, "horizontal": 2}


def specific_keys() -> dict:
    """The table of names, written out for one layer of the `debug` sizes."""
    video, audio = f"{BASE}/vid_backbone/_base", f"{BASE}/aud_backbone/_base"
    text = f"{BASE}/txt_backbone"
    layer = f"{text}/base_lm/layers/0"
    keys = {
        f"{video}/voxel_to_patch/kernel": (2, 8, 8, 3, 32),
        f"{video}/voxel_to_patch/bias": (32,),
        f"{video}/agg_embedding": (32,),
        f"{audio}/wave_to_patch/kernel": (128, 1, 32),
        f"{audio}/wave_to_patch/bias": (32,),
        f"{audio}/agg_embedding": (32,),
        f"{text}/embedding/embeddings": (64, 16),
        f"{text}/agg_embedding": (16,),
        f"{text}/pre_proj/kernel": (16, 32),
        f"{layer}/self_attention/layer_norm/weight": (32,),
        f"{layer}/self_attention/attention/relative_attention_bias/embeddings": (32, 2),
        f"{layer}/feed_forward/mlp/wi/kernel": (32, 64),
        f"{layer}/feed_forward/mlp/wo/kernel": (64, 32),
        f"{text}/base_lm/final_layer_norm/weight": (32,),
    }
    keys |= norm(f"{layer}/feed_forward/layer_norm", 32)
    keys |= {f"{layer}/self_attention/attention/{name}/kernel": (32, 32) for name in "qkvo"}
    keys |= tables(f"{video}/pos_embedding_lookup", VIDEO_ROWS)
    keys |= tables(f"{audio}/pos_embedding_lookup", {"temporal": 8})
    keys |= block(f"{video}/tx", 32, 64) | block(f"{audio}/tx", 32, 64)
    return keys | head(dict.fromkeys(("video", "audio", "text"), 32))


def unified_keys() -> dict:
    root = f"{BASE}/unified_backbone/unified_transformer"
    keys = {
        f"{root}/raw_to_embeddings/video/kernel": (2, 8, 8, 3, 32),
        f"{root}/raw_to_embeddings/video/bias": (32,),
        f"{root}/raw_to_embeddings/audio/kernel": (128, 1, 32),
        f"{root}/raw_to_embeddings/audio/bias": (32,),
        f"{root}/raw_to_embeddings/text/embeddings": (64, 16),
    }
    positions = {"video": VIDEO_ROWS, "audio": {"temporal": 8}, "text": {"temporal": 8}}
    for name, short in (("video", "vid"), ("audio", "aud"), ("text", "txt")):
        width = 16 if name == "text" else 32
        keys |= {
            f"{root}/pre_proj/{name}/kernel": (width, 32),
            f"{root}/pre_proj/{name}/bias": (32,),
            f"{root}/post_proj/{name}/kernel": (32, 32),
            f"{root}/post_proj/{name}/bias": (32,),
            f"{root}/{short}_agg_embedding": (32,),
        }
        keys |= tables(f"{root}/pos_embedding_lookup/{name}", positions[name])
    return keys | block(f"{root}/tx", 32, 64) | head(dict.fromkeys(("video", "audio", "text"), 32))


@pytest.mark.parametrize(
    ("build", "count", "rows"),
    [
        (lambda: VattModel(reference("mbs")), 480, {8, 14, 1200}),
        (lambda: VattModel(reference("unified_medium")), 244, {8, 14, 16, 1200}),
        (lambda: VattClassifier(reference("bbs"), "video", 400), 204, {8, 14}),
        (lambda: VattClassifier(reference("bbs"), "audio", 527), 202, {1200}),
    ],
    ids=["tx_fac_mbs", "ut_fac_medium", "vit_base", "wat_base"],
)
def test_every_weight_of_the_published_models_has_a_key(build, count, rows):
    with tf.Graph().as_default():
        model = build()
        found = places(model)
        assert len({place.key for place in found}) == len(found) == len(model.weights) == count
        variables = {id(part.variable) for place in found for part in place.parts}
        assert variables == {id(weight) for weight in model.weights}
        shapes = {place.key.rpartition("/_base/")[2]: place.shape for place in found}
        assert shapes.get("voxel_to_patch/kernel", (4, 16, 16, 3))[:4] == (4, 16, 16, 3)
        assert shapes.get("wave_to_patch/kernel", (128, 1))[:2] == (128, 1)
        tables = {place.shape[0] for place in found if place.parts[0].resize}
        # Temporal 8, vertical and horizontal 14 of video, 1200 of audio, 16 of unified text.
        assert tables == rows


@pytest.mark.parametrize(
    ("name", "keys"), [("debug", specific_keys), ("unified_debug", unified_keys)]
)
def test_keys_are_the_published_ones_and_a_round_trip_keeps_every_bit(name, keys, tmp_path):
    model, other = VattModel(one_layer(name)), VattModel(one_layer(name))
    path = weight_formats.write(KEY_MAPS[0], model, str(tmp_path / "out"), Output(500))
    written = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    models = {
        key.removesuffix(SUFFIX): tuple(shape)
        for key, shape in written.items()
        if key.startswith("model/")
    }
    assert models == keys()
    assert set(written) - {f"{key}{SUFFIX}" for key in models} == {
        f"optimizer/iter{SUFFIX}",
        f"save_counter{SUFFIX}",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
    }
    published = ObjectCheckpointSource(path)
    assert published.step == 500
    report = import_weights(other, published)
    assert sorted(report.loaded) == sorted(models)
    assert (report.resized, report.skipped, report.unmapped) == ({}, [], [])
    for one, two in zip(model.weights, other.weights, strict=True):
        assert one.numpy().tobytes() == two.numpy().tobytes(), one.path
    with pytest.raises(UserError, match="exists"):
        weight_formats.write(KEY_MAPS[0], model, str(tmp_path / "out"), Output(500))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def write_raw(path, values: dict) -> ObjectCheckpointSource:
    """A checkpoint file with exactly these names, as another program may have written it."""
    names = [name if name.startswith("opt") else f"{name}{SUFFIX}" for name in values]
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(value) for value in values.values()],
    )
    return ObjectCheckpointSource(f"{path}.index")


def published_video(num_classes: int = 3) -> tuple[VattClassifier, dict]:
    """A fine-tuned tower, and values for its keys: [2, 8, 8, 3, 32] kernels count upwards."""
    model = VattClassifier(one_layer("debug"), "video", num_classes)
    values = {
        entry.key: np.arange(np.prod(entry.shape), dtype=np.float32).reshape(entry.shape)
        for entry in places(model)
    }
    assert "model/layer_with_weights-0/_ops/cls/kernel" in values
    return model, values


def test_a_fine_tuned_tower_with_slots_and_other_positions(tmp_path):
    model, values = published_video()
    table = (
        "model/layer_with_weights-0/_base/pos_embedding_lookup/{}_position_embeddings/embeddings"
    )
    waves = np.repeat(np.sin(np.arange(14.0))[:, None], 32, axis=1).astype(np.float32)
    values[table.format("vertical")] = values[table.format("horizontal")] = waves
    slot = f"{next(iter(values))}/.OPTIMIZER_SLOT/optimizer/momentum"
    checkpoint = write_raw(
        tmp_path / "ckpt-77", {**values, slot: np.zeros(3, np.float32), "save_counter": np.int64(1)}
    )
    assert checkpoint.step == 77
    config = one_layer("debug")
    config.video.height = config.video.width = 160
    wide = VattClassifier(config, "video", 3)
    report = import_weights(wide, checkpoint)
    assert list(report.resized.values()) == [(14, 20), (14, 20)]
    assert not report.skipped and not report.unmapped
    assert "vertical_position_embeddings/embeddings 14 -> 20 rows" in str(report)
    rows = wide.tower("video").tokens.positions.tables[1].numpy()
    expected = [0, 0.64339, 0.98236, 0.86315, 0.33370]
    np.testing.assert_allclose(rows[:5, 0], expected, atol=2e-5)
    np.testing.assert_allclose(rows[19], 0.73021, atol=2e-5)
    kernel = wide.tower("video").tokens.patches.projection.kernel.numpy()
    # Row 3 of the matrix is the second pixel's red: [0, 0, 1, 0] of the convolution.
    np.testing.assert_array_equal(kernel[3], np.arange(3 * 32, 4 * 32))
    np.testing.assert_array_equal(wide.classifier.bias.numpy(), [0, 1, 2])


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path):
    model, values = published_video()
    before = [weight.numpy() for weight in model.weights]
    key = "model/layer_with_weights-0/_base/tx/layers/0/mha/q/bias"
    lacking = {name: value for name, value in values.items() if name != key}
    cases = {
        "lacking": (lacking, f"lacks 1 key.*{key}"),
        "beyond": ({**values, f"{key}/more": np.zeros(2)}, "without a place.*q/bias/more"),
        "shape": ({**values, key: np.zeros(5, np.float32)}, rf"{key} of shape \[5\]"),
    }
    for name, (stored, words) in cases.items():
        with pytest.raises(UserError, match=words):
            import_weights(model, write_raw(tmp_path / name, stored))
    for one, two in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(one, two.numpy())
    allowed = import_weights(
        model, ObjectCheckpointSource(str(tmp_path / "lacking")), [r"mha/q/bias$"]
    )
    assert allowed.skipped == [key] and len(allowed.loaded) == len(values) - 1
    beyond = ObjectCheckpointSource(str(tmp_path / "beyond"))
    assert import_weights(model, beyond, ["more"]).unmapped == [f"{key}/more"]


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(UserError, match="cannot be opened"):
        ObjectCheckpointSource(str(tmp_path / "none"))
    with pytest.raises(UserError, match="no variable named model/"):
        write_raw(tmp_path / "plain", {"weights/kernel": np.zeros(2)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: setattr(c, "preset", "paper"), "task.model.preset to reference_code"),
        (lambda c: setattr(c.head, "kind", "mlp_joint"), "kind 'mlp_joint'"),
        (lambda c: setattr(c.head, "preset", "paper"), "preset 'paper'"),
    ],
)
def test_kinds_that_were_not_published_are_refused(change, words):
    config = one_layer("debug")
    change(config)
    with tf.Graph().as_default(), pytest.raises(UserError, match=words):
        places(VattModel(config))


def test_agnostic_and_text_classifiers_and_spectrograms_are_refused():
    config = one_layer("debug")
    config.audio.input, config.audio.num_samples = "spectrogram", 48000
    with tf.Graph().as_default():
        for model, words in (
            (VattClassifier(one_layer("unified_debug"), "video", 2), "agnostic"),
            (VattClassifier(one_layer("debug"), "text", 2), "text"),
            (VattModel(config), "task.model.audio.input"),
        ):
            with pytest.raises(UserError, match=words):
                places(model)
