"""The T5 family in the forms of transformers and of T5X: the same numbers, and every bit back."""

import pathlib
import re
import shutil
import sys
import tarfile

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.t5 import T5, T5Config
from mm_models.checkpoints import key_maps, mapping, weight_formats
from mm_models.checkpoints.containers import mesh_tensorflow, message_pack, safetensors, zarr
from mm_models.checkpoints.containers.container import Extras
from mm_models.checkpoints.keys import huggingface_t5
from mm_models.checkpoints.mapping import stored_values
from mm_models.checkpoints.weight_formats import Output
from mm_models.errors import UserError
from tests.mm_models.checkpoints import t5_cases
from tests.mm_models.checkpoints.t5_cases import CASES, NamedSource, named_value

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"


def make(family, **changes):
    return T5(T5Config(**{**CASES[family], **changes}), name="t5")


def named_model(family):
    model = make(family)
    places = huggingface_t5.places(model)
    assert mapping.load(places, NamedSource(places)).skipped == []
    return model


def logits(model):
    return model({name: tf.constant(value, tf.int32) for name, value in t5_cases.batch().items()})


def opened(path, model):
    """The canonical source at a path, its key map's places, after the checks of its settings."""
    _, source = weight_formats.open_source(str(path))
    key_map = weight_formats.find(source, key_maps.KEY_MAPS)
    assert key_map.part == "mm_models.backbones.t5:T5"
    weight_formats.check_settings(key_map, model, source)
    canonical = weight_formats.canonical(key_map, source, model)
    return canonical, weight_formats.places_of(key_map, model, canonical), key_map


def load(path, model):
    source, places, key_map = opened(path, model)
    return mapping.load(places, source, elsewhere=key_map.elsewhere)


def save(model, path, form):
    key_map = next(
        one for one in key_maps.KEY_MAPS if one.format == form and weight_formats.holds(one, model)
    )
    return weight_formats.write(key_map, model, str(path), Output(7))


def assert_same_weights(one, other):
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)


@pytest.mark.parametrize("family", list(CASES))
def test_logits_are_those_of_transformers(family):
    expected = np.load(GOLDEN / "t5.npz")[family]
    np.testing.assert_allclose(logits(named_model(family)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["huggingface", "t5x", "mesh_tensorflow"])
@pytest.mark.parametrize("family", list(CASES))
def test_every_bit_comes_back(family, form, tmp_path):
    model, again = named_model(family), make(family)
    report = load(save(model, tmp_path / "saved", form), again)
    assert not report.skipped and not report.unmapped and not report.resized
    assert_same_weights(model, again)


@pytest.mark.parametrize("layout", ["scalable", "flaxformer"])
def test_t5x_checkpoints_with_scanned_layers(layout, tmp_path):
    with tarfile.open(GOLDEN / "t5x_checkpoint.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    config = T5Config("debug", **t5_cases.T5X_SHAPE, per_layer_bias=layout == "flaxformer")
    model = T5(config, name="t5")
    source, _, _ = opened(tmp_path / layout, model)
    assert source.step == 1000
    load(tmp_path / layout, model)
    weights = {weight.path.split("/", 1)[1]: weight.numpy() for weight in model.weights}
    scope = "decoder/layers" if layout == "scalable" else "decoder/decoder"
    four_axes = layout == "flaxformer"
    out = named_value(
        f"{scope}/encoder_decoder_attention/out/kernel", (2, 3, 4, 6) if four_axes else (8, 3, 6)
    )
    got = weights["decoder/block_2/cross_attention/o/kernel"]
    np.testing.assert_array_equal(got, out[:, 2].reshape(8, 6))
    query = named_value(
        f"{scope}/self_attention/query/kernel", (6, 3, 2, 4) if four_axes else (6, 3, 8)
    )
    got = weights["decoder/block_1/attention/q/kernel"]
    np.testing.assert_array_equal(got, query[:, 1].reshape(6, 8))
    table = named_value("token_embedder/embedding", (12, 6))
    np.testing.assert_array_equal(weights["token_embedding/embeddings"], table)
    norm = named_value("encoder/encoder_norm/scale", (6,))
    np.testing.assert_array_equal(weights["encoder/final_norm/scale"], norm)
    rounded = named_value("decoder/logits_dense/kernel", (6, 12))
    np.testing.assert_allclose(weights["logits_dense/kernel"], rounded, rtol=2**-8)
    if four_axes:
        bias = named_value("encoder/encoder/relpos_bias/rel_embedding", (2, 2, 32))[:, 1]
        got = weights["encoder_relative_bias_1/embeddings"]
    else:
        bias = named_value("decoder/relpos_bias/rel_embedding", (2, 32))
        got = weights["decoder_relative_bias/embeddings"]
    np.testing.assert_array_equal(got, bias.T)


def test_names_of_mesh_tensorflow(tmp_path):
    names = {
        "decoder/block_002/layer_001/EncDecAttention/k": "decoder/block_2/cross_attention/k/kernel",
        "decoder/block_000/layer_000/SelfAttention/o": "decoder/block_0/attention/o/kernel",
        "encoder/block_001/layer_001/DenseReluDense/wi_1/kernel": "encoder/block_1/mlp/wi_1/kernel",
        "decoder/block_001/layer_002/DenseReluDense/wo/kernel": "decoder/block_1/mlp/wo/kernel",
        "encoder/block_000/layer_001/layer_norm/scale": "encoder/block_0/mlp_norm/scale",
        "decoder/block_002/layer_002/layer_norm/scale": "decoder/block_2/mlp_norm/scale",
        "encoder/final_layer_norm/scale": "encoder/final_norm/scale",
        "decoder/logits/kernel": "logits_dense/kernel",
        "shared/embedding": "token_embedding/embeddings",
    }
    bias = "encoder/block_000/layer_000/SelfAttention/relative_attention_bias"
    saved = save(named_model("mt5"), tmp_path / "saved", "mesh_tensorflow")
    reader = tf.train.load_checkpoint(saved)
    weights = {w.path.split("/", 1)[1]: w.numpy() for w in named_model("mt5").weights}
    for theirs, ours in names.items():
        np.testing.assert_array_equal(reader.get_tensor(theirs), weights[ours])
    np.testing.assert_array_equal(
        reader.get_tensor(bias), weights["encoder_relative_bias/embeddings"].T
    )
    # Newer files call normalisations by another name, and all hold what Adafactor keeps.
    held = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    newer = {re.sub(r"(final_)?layer_norm", "rms_norm", key): held[key] for key in held}
    newer["shared/embedding_slot_vc"] = np.zeros(3, np.float32)
    again = make("mt5")
    report = load(
        mesh_tensorflow.MeshContainer().write(newer.items(), str(tmp_path / "newer"), Extras(7)),
        again,
    )
    assert not report.skipped and not report.unmapped
    assert_same_weights(named_model("mt5"), again)


def test_a_file_without_logits_takes_them_from_the_token_table(tmp_path):
    source = named_model("mt5")
    values = [
        item
        for item in stored_values(huggingface_t5.places(source))
        if item[0] != huggingface_t5.LOGITS
    ]
    safetensors.SafetensorsContainer().write(values, str(tmp_path / "tied"))
    model = make("mt5")
    load(tmp_path / "tied", model)
    table = source.token_embedding.embeddings.numpy()
    np.testing.assert_array_equal(model.logits_dense.kernel.numpy(), table.T)
    # Read whenever it is there; a model that has no place for it says so.
    save(source, tmp_path / "untied", "huggingface")
    load(tmp_path / "untied", model)
    assert_same_weights(model, source)
    (tmp_path / "untied" / "config.json").unlink()
    with pytest.raises(UserError, match="tie_logits of the model to false"):
        load(tmp_path / "untied", make("mt5", tie_logits=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 6, "head_dim": 4}, "d_kv = 8"),
        ({"max_distance": 64}, "relative_attention_max_distance = 128"),
        ({"tie_logits": True}, "set tie_logits of the model to false"),
    ],
)
def test_settings_that_shapes_do_not_tell(changes, message, tmp_path):
    save(make("mt5"), tmp_path / "saved", "huggingface")
    with pytest.raises(UserError, match=message):
        load(tmp_path / "saved", make("mt5", **changes))


def test_t5x_checkpoints_of_the_version_before(tmp_path):
    path, model = tmp_path / "saved", make("mt5")
    save(model, path, "t5x")
    name = "target.encoder.encoder_norm.scale"
    values = named_value(name, (16,)).astype(ml_dtypes.bfloat16)
    shutil.rmtree(path / name)
    zarr.write(str(path / name), values.view(np.uint16))
    held = message_pack.unpack((path / "checkpoint").read_bytes())
    held["optimizer"]["state"] = {}
    (path / "checkpoint").write_bytes(message_pack.pack({**held, "version": 2}))
    load(path, model)
    np.testing.assert_array_equal(model.encoder.final_norm.scale.numpy(), values.astype("f4"))
    (path / "checkpoint").write_bytes(message_pack.pack({**held, "version": 1}))
    with pytest.raises(UserError, match="is of version 1"):
        load(path, model)


def test_damaged_t5x_checkpoints(tmp_path):
    path = tmp_path / "saved"
    save(make("mt5"), path, "t5x")
    chunk = path / "target.encoder.encoder_norm.scale" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"encoder_norm.scale is damaged .*/0"):
        load(path, make("mt5"))
    (chunk.parent / ".zarray").unlink()
    with pytest.raises(UserError, match="hidden files"):
        load(path, make("mt5"))
    content = (path / "checkpoint").read_bytes()
    (path / "checkpoint").write_bytes(content[:-3])
    with pytest.raises(UserError, match="no readable T5X checkpoint"):
        load(path, make("mt5"))
    (path / "checkpoint").write_bytes(content.replace(b"target.encoder.enc", b"../../.encoder.enc"))
    with pytest.raises(UserError, match="not in its folder"):
        load(path, make("mt5"))


def arrays_of_t5x(model):
    key_map = next(one for one in key_maps.KEY_MAPS if one.format == "t5x")
    return dict(stored_values(weight_formats.places_of(key_map, model)))


@pytest.mark.parametrize("prefix", ["", "target/"])
def test_names_of_t5x_in_an_npz(prefix, tmp_path):
    model, again = named_model("mt5"), make("mt5")
    arrays = {f"{prefix}{key}": value for key, value in arrays_of_t5x(model).items()}
    if prefix:
        arrays |= {"state/param_states/decoder/v": np.zeros(3), "step": np.array(4)}
    np.savez(tmp_path / "t5x.npz", **arrays)
    report = load(tmp_path / "t5x.npz", again)
    assert not report.skipped and not report.unmapped
    assert_same_weights(model, again)


@pytest.mark.parametrize(("driver", "database"), [("zarr", False), ("zarr3", True)])
def test_orbax_checkpoints(driver, database, tmp_path):
    model, again = named_model("umt5"), make("umt5")
    path = tmp_path / "orbax"
    path.mkdir()
    for key, value in arrays_of_t5x(model).items():
        name = f"params.{key.replace('/', '.')}"
        store = {"driver": "file", "path": f"{path}/{name}/"}
        if database:
            base = {"driver": "file", "path": f"{path}/"}
            store = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
        spec = {"driver": driver, "kvstore": store}
        kind = {"dtype": "float32", "create": True, "shape": value.shape}
        zarr.tensorstore().open(spec, **kind).result().write(value).result()
    report = load(path, again)
    assert not report.skipped and not report.unmapped
    assert_same_weights(model, again)
    if database:
        (path / "manifest.ocdbt").write_bytes((path / "manifest.ocdbt").read_bytes()[:-9])
        with pytest.raises(UserError, match="manifest.ocdbt is no readable OCDBT database"):
            load(path, again)


def test_without_tensorstore_its_arrays_say_so(tmp_path, monkeypatch):
    save(make("mt5"), tmp_path / "saved", "t5x")
    zarr.tensorstore.cache_clear()
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    try:
        with pytest.raises(UserError, match="install it with `pip install tensorstore`"):
            load(tmp_path / "saved", make("mt5"))
    finally:
        zarr.tensorstore.cache_clear()
