"""Same weights, same outputs as transformers' ViT and SigLIP vision models, and files both ways."""

import json
import pathlib

import numpy as np
import pytest

from mm_models.backbones.vit import Vit
from mm_models.checkpoints import key_maps, weight_formats
from mm_models.checkpoints.containers.container import Extras
from mm_models.checkpoints.containers.safetensors import (
    SafetensorsContainer,
    SafetensorsSource,
)
from mm_models.checkpoints.keys import huggingface_vit
from mm_models.errors import UserError
from tests import batteries
from tests.golden.make_hf_vision import SEED
from tests.mm_models.checkpoints import hf_vision
from tests.mm_models.checkpoints.hf_vision import CASES

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "hf_vision.npz"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as stored:
        return dict(stored)


def write_case(golden, name: str, folder) -> str:
    """The folder that transformers writes, with drawn weights."""
    text = json.loads(golden[f"{name}/file"].tobytes())
    shapes = {key: tuple(shape) for key, shape in text["shapes"].items()}
    drawn = hf_vision.draw_weights(shapes, SEED)
    return SafetensorsContainer().write(
        drawn.items(), str(folder), Extras(settings=text["settings"])
    )


def export(model: Vit, path: str) -> str:
    """Our weights as transformers' file."""
    key_map = next(
        one
        for one in key_maps.KEY_MAPS
        if one.format == "huggingface" and weight_formats.holds(one, model)
    )
    return weight_formats.write(key_map, model, path)


def assert_same_arrays(one: str, other: str) -> None:
    first, second = SafetensorsSource(one), SafetensorsSource(other)
    bare = {key.removeprefix("vision_model."): key for key in second.shapes}
    assert {key.removeprefix("vision_model.") for key in first.shapes} == set(bare)
    for key in first.shapes:
        got = second.value(bare[key.removeprefix("vision_model.")])
        assert got.tobytes() == first.value(key).tobytes(), key


@pytest.mark.parametrize("name", CASES)
def test_stored_outputs_of_transformers_are_ours(name, golden, tmp_path):
    case = CASES[name]
    model, report = hf_vision.load(case, write_case(golden, name, tmp_path / "theirs"))
    assert not report.skipped and not report.unmapped and not report.resized
    for height, width in case.sizes:
        ours = hf_vision.run(model, hf_vision.draw_images(height, width, SEED))
        keys = [key for key in golden if key.startswith(f"{name}/{height}x{width}/")]
        assert keys
        for key in keys:
            theirs = golden[key]
            assert np.abs(theirs).max() > 0.5
            np.testing.assert_allclose(ours[key.rpartition("/")[2]], theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", CASES)
def test_a_file_comes_back_bit_for_bit(name, golden, tmp_path):
    theirs = write_case(golden, name, tmp_path / "theirs")
    model, _ = hf_vision.load(CASES[name], theirs)
    ours = export(model, str(tmp_path / "ours"))
    again, report = hf_vision.load(CASES[name], ours)
    for one, other in zip(model.weights, again.weights, strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes(), one.path
    assert not report.skipped and not report.unmapped
    if model.config.class_position or model.config.pool != "cls":
        assert_same_arrays(theirs, ours)


def test_what_the_config_beside_the_weights_contradicts_is_refused(golden, tmp_path):
    for name, wrong, words in (
        ("vit", {"gelu": "tanh"}, r"config.json is of .* with gelu 'erf' \(not 'tanh'\); set gelu"),
        ("vit", {"epsilon": 1e-6}, r"epsilon 1e-12 \(not 1e-06\)"),
        ("siglip", {"num_heads": 4, "depth": 3}, r"depth 2 \(not 3\), num_heads 3 \(not 4\); set "),
        ("siglip_classifier", {"gelu": "tanh"}, "gelu 'erf'"),
    ):
        folder = tmp_path / f"{name}{next(iter(wrong))}"
        path = write_case(golden, name, folder)
        case = CASES[name]
        case = hf_vision.dataclasses.replace(case, ours={**case.ours, **wrong})
        with pytest.raises(UserError, match=words):
            hf_vision.load(case, path)
    assert set(huggingface_vit.GELUS.values()) == {"erf", "tanh"}


@pytest.mark.parametrize("name", ["vit", "siglip", "siglip_classifier"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        # Of as many patches as the square: shapes alone do not tell.
        ({"image_size": [64, 16]}, r"rectangular .*image_size \[64, 16\].*square images"),
        ({"patch_size": [8, 4]}, r"rectangular .*patch_size \[8, 4\]"),
        ({"qkv_bias": False}, "qkv_bias False, and our queries, keys and values always have"),
        ({"num_channels": 1}, "num_channels 1, and our pictures have three"),
        ({"hidden_act": ["gelu"]}, r"gelu \['gelu'\]"),
        ({"image_size": [32, 32], "patch_size": [8, 8], "qkv_bias": True}, ""),
    ],
)
def test_models_of_another_form_are_named(golden, name, settings, words, tmp_path):
    path = write_case(golden, name, tmp_path / "theirs")
    config = tmp_path / "theirs" / "config.json"
    whole = json.loads(config.read_text())
    whole.get("vision_config", whole).update(settings)
    config.write_text(json.dumps(whole))
    if not words:
        hf_vision.load(CASES[name], path)
        return
    with pytest.raises(UserError, match=words):
        hf_vision.load(CASES[name], path)


def test_weights_that_a_format_does_not_know_are_named(golden, tmp_path):
    """Never is a part of the model left random in silence."""
    for name, pool, words in (
        ("siglip", "cls", "huggingface_siglip has it.* knows no vit/class_token/embedding"),
        ("vit_classifier", "map", "huggingface_vit_names has it.* knows no vit/map_head/"),
    ):
        case = CASES[name]
        path = write_case(golden, name, tmp_path / name)
        with pytest.raises(UserError, match=words):
            hf_vision.load(hf_vision.dataclasses.replace(case, ours={"pool": pool}), path)
    path = write_case(golden, "siglip", tmp_path / "trunk")
    case = hf_vision.dataclasses.replace(CASES["siglip"], ours={})
    with pytest.raises(UserError, match=r"without a place.* 11 key\(s\): head\."):
        hf_vision.load(case, path)
    model, report = hf_vision.load(case, path, allow=[r"^head\."])
    assert len(report.unmapped) == 11 and len(report.loaded) == len(model.weights)


def test_names_in_memory_and_other_towers_are_understood(golden, tmp_path):
    path = write_case(golden, "vit", tmp_path / "vit")
    model, _ = hf_vision.load(CASES["vit"], path)
    memory = {
        "encoder.layer.": "layers.",
        "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj",
        "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    source, arrays = SafetensorsSource(path), {}
    for key in source.shapes:
        name = key
        for old, new in memory.items():
            name = name.replace(old, new)
        arrays[f"vit.{name}"] = source.value(key)
    SafetensorsContainer().write(arrays.items(), str(tmp_path / "memory"))
    again, _ = hf_vision.load(CASES["vit"], str(tmp_path / "memory"))
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    # Both towers in one file.
    path = write_case(golden, "siglip", tmp_path / "siglip")
    source = SafetensorsSource(path)
    arrays = {f"vision_model.{key}": source.value(key) for key in source.shapes}
    arrays |= {"logit_scale": np.zeros(1), "text_model.head.bias": np.zeros(4)}
    SafetensorsContainer().write(arrays.items(), str(tmp_path / "both"))
    _, report = hf_vision.load(CASES["siglip"], str(tmp_path / "both"))
    assert report.unmapped == ["logit_scale", "text_model.head.bias"]


def test_another_resolution_is_resampled_by_the_models_method(golden, tmp_path):
    path = write_case(golden, "vit", tmp_path / "vit")
    case = CASES["vit"]
    larger = {**case.theirs, "image_size": 48}
    model, report = hf_vision.load(hf_vision.dataclasses.replace(case, theirs=larger), path)
    assert report.resized == {"embeddings.position_embeddings": (17, 37)}
    plain, _ = hf_vision.load(case, path)
    images = hf_vision.draw_images(48, 48, SEED)
    np.testing.assert_allclose(model(images), plain(images), atol=1e-5, rtol=1e-4)
    np.testing.assert_array_equal(model.class_token.position, plain.class_token.position)


@pytest.mark.parametrize("name", CASES)
def test_transformers_itself_agrees_both_ways(name, tmp_path):
    """Other weights than the stored ones, and transformers reading what we write."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tests.mm_models.checkpoints import hf_models

    case = CASES[name]
    theirs = hf_models.build(case, 11, str(tmp_path / "theirs"))
    model, _ = hf_vision.load(case, str(tmp_path / "theirs"))
    for kind, drawn in (("theirs", False), ("ours", True)):
        if drawn:
            batteries.shake(model)
            path = export(model, str(tmp_path / "ours"))
            theirs, info = getattr(transformers, case.kind).from_pretrained(
                path, output_loading_info=True
            )
            assert not info["missing_keys"] and not info["unexpected_keys"], info
            theirs.eval()
        for height, width in case.sizes:
            images = hf_vision.draw_images(height, width, 12)
            ours = hf_vision.run(model, images)
            for output, value in hf_models.run(theirs, case, images).items():
                difference = np.abs(ours[output] - value).max()
                print(f"{name} {kind} {height}x{width} {output}: {difference:.2e}")
                assert difference < TOLERANCE
