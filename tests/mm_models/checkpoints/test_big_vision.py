"""big_vision's files: names of today written out, every older variant, and the way back."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.vit import Vit, VitConfig
from mm_models.checkpoints import key_maps, mapping, weight_formats
from mm_models.checkpoints.containers.npz import NpzSource
from mm_models.errors import UserError
from tests import batteries

CONFIG = VitConfig(size="debug", pool="map", num_classes=3, representation_dim=6)
TOKEN = dataclasses.replace(CONFIG, pool="cls")
BLOCK = "Transformer/encoderblock_{}/"


def attention(prefix: str) -> dict:
    maps = {f"{prefix}{name}/kernel": (16, 2, 8) for name in ("query", "key", "value")}
    maps |= {f"{prefix}{name}/bias": (2, 8) for name in ("query", "key", "value")}
    return maps | {f"{prefix}out/kernel": (2, 8, 16), f"{prefix}out/bias": (16,)}


def mlp(prefix: str) -> dict:
    first, second = f"{prefix}Dense_0/", f"{prefix}Dense_1/"
    return {
        f"{first}kernel": (16, 32),
        f"{first}bias": (32,),
        f"{second}kernel": (32, 16),
        f"{second}bias": (16,),
    }


def norm(prefix: str) -> dict:
    return {f"{prefix}/scale": (16,), f"{prefix}/bias": (16,)}


def keys_of_today() -> dict:
    """Of `CONFIG`, as big_vision names and shapes them."""
    keys = {"embedding/kernel": (8, 8, 3, 16), "embedding/bias": (16,)}
    keys |= {"pos_embedding": (1, 16, 16), "MAPHead_0/probe": (1, 1, 16)}
    keys |= {"pre_logits/kernel": (16, 6), "pre_logits/bias": (6,)}
    keys |= {"head/kernel": (6, 3), "head/bias": (3,)}
    for index in range(2):
        block = BLOCK.format(index)
        keys |= attention(f"{block}MultiHeadDotProductAttention_0/") | mlp(f"{block}MlpBlock_0/")
        keys |= norm(f"{block}LayerNorm_0") | norm(f"{block}LayerNorm_1")
    keys |= attention("MAPHead_0/MultiHeadDotProductAttention_0/") | mlp("MAPHead_0/MlpBlock_0/")
    return keys | norm("MAPHead_0/LayerNorm_0") | norm("Transformer/encoder_norm")


def shaken(config: VitConfig) -> Vit:
    model = Vit(config)
    batteries.shake(model)
    return model


def arrays_of(model: Vit) -> dict:
    return dict(mapping.stored_values(weight_formats.places_of(BIG_VISION, model)))


BIG_VISION = next(one for one in key_maps.KEY_MAPS if one.format == "big_vision")


def load(config: VitConfig, path, arrays: dict, **options):
    """Our model with what a file of these arrays holds."""
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    _, source = weight_formats.open_source(str(path))
    assert weight_formats.find(source, key_maps.KEY_MAPS) is BIG_VISION
    model = Vit(config)
    weight_formats.check_settings(BIG_VISION, model, source)
    source = weight_formats.canonical(BIG_VISION, source, model)
    places = weight_formats.places_of(BIG_VISION, model, source)
    return model, mapping.load(places, source, elsewhere=BIG_VISION.elsewhere, **options)


def assert_same_weights(one: Vit, other: Vit) -> None:
    for first, second in zip(one.weights, other.weights, strict=True):
        assert first.path == second.path
        np.testing.assert_array_equal(first.numpy(), second.numpy(), err_msg=first.path)


def test_names_are_todays_and_a_round_trip_keeps_every_bit(tmp_path):
    model = shaken(CONFIG)
    path = weight_formats.write(BIG_VISION, model, str(tmp_path / "vit.npz"))
    source = NpzSource(path)
    assert source.shapes == keys_of_today()
    # Head 1 of the second block's queries, and where a pixel's colours lie.
    kernel = model.stack.blocks[1].attention.q.kernel.numpy()
    stored = source.value(f"{BLOCK.format(1)}MultiHeadDotProductAttention_0/query/kernel")
    np.testing.assert_array_equal(stored[:, 1], kernel[:, 8:])
    patch = model.patches.projection.kernel.numpy()
    np.testing.assert_array_equal(source.value("embedding/kernel")[2, 5], patch[63:66])
    again, report = load(CONFIG, tmp_path / "again.npz", dict(np.load(path)))
    assert_same_weights(model, again)
    assert len(report.loaded) == len(keys_of_today()) and not report.unmapped


def prefixed(prefix):
    return lambda arrays: {
        **{f"{prefix}{key}": value for key, value in arrays.items()},
        "opt/state/step": np.array(7),
    }


def scanned(arrays):
    """Blocks of all layers in one array each, layers first."""
    blocks, found = BLOCK.format(0), {}
    for key, value in arrays.items():
        if key.startswith(blocks):
            every = [arrays[BLOCK.format(i) + key[len(blocks) :]] for i in range(2)]
            found[f"Transformer/encoderblock/{key[len(blocks) :]}"] = np.stack(every)
        elif not key.startswith("Transformer/encoderblock_"):
            found[key] = value
    return found


def pre_linen(arrays):
    """All modules of a scope counted together, and positions within the encoder."""
    names = {
        "MultiHeadDotProductAttention_0": "MultiHeadDotProductAttention_1",
        "LayerNorm_1": "LayerNorm_2",
        "MlpBlock_0": "MlpBlock_3",
    }
    head = {"LayerNorm_0": "LayerNorm_1", "MlpBlock_0": "MlpBlock_2"}
    found = {}
    for key, value in arrays.items():
        for old, new in (head if key.startswith("MAPHead") else names).items():
            key = key.replace(f"/{old}/", f"/{new}/")
        found[key.replace("pos_embedding", "Transformer/posembed_input/pos_embedding")] = value
    return found


def inlined_head(arrays):
    found = {key.removeprefix("MAPHead_0/"): value for key, value in arrays.items()}
    found["Transformer/pos_embedding"] = found.pop("pos_embedding")
    return found


def two_towers(arrays):
    towers = {f"params/img/{key}": value for key, value in arrays.items()}
    towers["params/txt/head/bias"] = towers["params/t"] = np.zeros(2, np.float32)
    return towers


VARIANTS = {
    "with the optimizer": prefixed("params/"),
    "old optimizer": prefixed("opt/target/"),
    "scanned": scanned,
    "scanned with the optimizer": lambda arrays: prefixed("params/")(scanned(arrays)),
    "before linen": pre_linen,
    "inlined head": inlined_head,
    "two towers": two_towers,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_gives_the_same_model(variant, tmp_path):
    model = shaken(CONFIG)
    arrays = VARIANTS[variant](arrays_of(model))
    again, report = load(CONFIG, tmp_path / "variant.npz", arrays)
    assert_same_weights(model, again)
    assert report.unmapped == (["txt/head/bias", "t"] if variant == "two towers" else [])


def test_half_precision_is_read_as_what_it_is(tmp_path):
    model = shaken(CONFIG)
    halves = {key: value.astype(ml_dtypes.bfloat16) for key, value in arrays_of(model).items()}
    nameless = {key: value.view(np.dtype("V2")) for key, value in halves.items()}
    again, _ = load(CONFIG, tmp_path / "half.npz", nameless)
    for key, value in arrays_of(again).items():
        np.testing.assert_array_equal(value, halves[key].astype(np.float32))


@pytest.mark.parametrize("has_position", [False, True])
def test_a_class_tokens_row_in_the_table(has_position, tmp_path):
    config = dataclasses.replace(TOKEN, class_position=has_position)
    model = shaken(TOKEN)
    arrays = arrays_of(model)
    row = np.full((1, 1, 16), 0.25, np.float32)
    merged = {**arrays, "cls": arrays["cls"] - row}
    merged["pos_embedding"] = np.concatenate([row, arrays["pos_embedding"]], axis=1)
    images = tf.random.stateless_uniform([2, 32, 32, 3], (5, 6), -1.0, 1.0)
    for stored in (merged, arrays):
        again, report = load(config, tmp_path / "class.npz", stored)
        assert not report.unmapped and not report.skipped and not report.resized
        np.testing.assert_allclose(again(images), model(images), atol=1e-5, rtol=1e-4)
    if has_position:
        again, _ = load(config, tmp_path / "class.npz", merged)
        written = arrays_of(again)
        assert all(np.array_equal(written[key], merged[key]) for key in merged)


def test_another_resolution(tmp_path):
    model = shaken(CONFIG)
    arrays = arrays_of(model)
    ramp = np.broadcast_to(np.arange(16.0, dtype=np.float32)[None, :, None], (1, 16, 16))
    larger = dataclasses.replace(CONFIG, image_size=48)
    again, report = load(larger, tmp_path / "a.npz", {**arrays, "pos_embedding": ramp})
    assert report.resized == {"pos_embedding": (16, 36)}
    first = again.positions.table.numpy().reshape(6, 6, 16)[0, :, 3]
    np.testing.assert_allclose(first, [0, 0.6, 1.2, 1.8, 2.4, 3.0], atol=1e-6, rtol=1e-4)
    # 224 rows are no square, and neither are 223.
    square = {**arrays, "pos_embedding": np.ones((1, 256, 16), np.float32)}
    again, report = load(larger, tmp_path / "b.npz", square)
    assert report.resized == {"pos_embedding": (256, 36)}
    with pytest.raises(UserError, match="224 rows is not that of a square"):
        load(larger, tmp_path / "c.npz", {**square, "pos_embedding": np.ones((1, 224, 16))})


def test_heads_are_left_out_only_when_allowed(tmp_path):
    arrays = arrays_of(shaken(CONFIG))
    trunk = VitConfig(size="debug")
    with pytest.raises(UserError, match=r"without a place.* 19 key\(s\).*--allow=PATTERN"):
        load(trunk, tmp_path / "a.npz", arrays)
    model, report = load(
        trunk, tmp_path / "a.npz", arrays, allow=["^MAPHead_0/", "^pre_logits/", "^head/"]
    )
    assert len(report.unmapped) == 19 and len(report.loaded) == len(model.weights)
    del arrays["Transformer/encoder_norm/bias"]
    with pytest.raises(UserError, match=r"lacks 1 key\(s\): Transformer/encoder_norm/bias"):
        load(CONFIG, tmp_path / "a.npz", arrays)


@pytest.mark.parametrize("variant", ["scanned", "two towers"])
def test_the_file_of_another_size_says_which(variant, tmp_path):
    arrays = VARIANTS[variant](arrays_of(shaken(CONFIG)))
    other = dataclasses.replace(CONFIG, width=32, depth=3, mlp_dim=8, num_heads=4, patch_size=4)
    words = r"with depth 2 \(not 3\), width 16 \(not 32\), mlp_dim 32 \(not 8\), num_heads 2 "
    with pytest.raises(
        UserError, match=words + r"\(not 4\), patch_size 8 \(not 4\); set depth and"
    ):
        load(other, tmp_path / "other.npz", arrays)


def test_rectangular_patches_are_named(tmp_path):
    arrays = arrays_of(shaken(CONFIG))
    arrays["embedding/kernel"] = np.ones((8, 4, 3, 16), np.float32)
    with pytest.raises(UserError, match=r"rectangular patches \(8 by 4\)"):
        load(CONFIG, tmp_path / "other.npz", arrays)
