"""A run's weights in the forms of others: every weight is accounted for, in the type and the files
that were asked for, with what their code base looks for beside them."""

import json
import types

import ml_dtypes
import numpy as np
import pytest

from mm_models.backbones.vit import Vit, VitConfig
from mm_models.checkpoints import weight_formats
from mm_models.errors import UserError
from tests import batteries
from tests.trainers.conversion.pair import Pair
from trainers import conversion, registry, runs, weight_export
from trainers.config.loading import load_config


@pytest.fixture(scope="module")
def pair():
    model = Pair()
    batteries.shake(model)
    return model


def export(model, target, path, **options):
    run = types.SimpleNamespace(model=model, step=4, config={})
    return weight_export.export_run(run, target, str(path), **options)


def test_a_weight_without_a_key_ends_it_unless_it_may_be_left_out(pair, tmp_path):
    words = r"no keys for 2 weight\(s\) of this model: join/kernel, join/bias; leave them out with"
    with pytest.raises(UserError, match=words):
        export(pair, "huggingface", tmp_path / "out")
    with pytest.raises(UserError, match=r"no keys for 1 weight\(s\) .*: join/bias"):
        export(pair, "huggingface", tmp_path / "out", allow=["^join/kernel$"])
    with pytest.raises(UserError, match=r"no keys for \d+ weight\(s\) .*language/.* and \d+ more"):
        export(pair, "big_vision", tmp_path / "out", allow=["^join/"])
    assert not list(tmp_path.iterdir())
    written = export(pair, "big_vision", tmp_path / "out", allow=["^join/", "^language/"])
    assert sum(written.counts.values()) + len(written.left_out) == len(pair.weights)
    assert "left out: " in str(written) and "\n  join/kernel" in str(written)


@pytest.mark.parametrize("name", sorted(registry.SYSTEMS))
def test_no_system_loses_a_weight(name, tmp_path):
    """Whatever the format: the parts that are written and what is left out are all of the model."""
    path = tmp_path / "model.yaml"
    classes = {"num_classes": 3} if name.endswith("classification") else {}
    sizes = {
        "vatt": {
            "preset": "reference_code",
            "video": {"size": "debug"},
            "audio": {"size": "debug"},
        },
        "vatt_classification": {"preset": "reference_code", "video": {"size": "debug"}},
        "levels_classification": {"visual": {"widths": [8, 8], "blocks_per_stage": [2, 2]}},
    }
    model = sizes.get(name, {"size": "debug"})
    if name == "vatt":
        model |= {"text": {"size": "debug"}, "head": {"size": "debug"}}
    if name == "vit_classification":
        model |= {"pool": "cls", "gelu": "erf"}
    path.write_text(json.dumps({"task": {"name": name, "model": model, **classes}}))
    config = load_config([str(path)], trains=False)
    built = runs.build_model(runs.build_task(config), config)
    for target in registry.weight_formats():
        try:
            written = export(built, target, tmp_path / target, allow=["."])
        except UserError as error:
            assert "has no keys for any part" in str(error)
            continue
        stored = 0
        for opened in conversion.open_sources(list(written.paths.values()), target):
            part = conversion._part_for(built, opened)
            source = weight_formats.canonical(opened.key_map, opened.source, part)
            places = weight_formats.places_of(opened.key_map, part, source)
            assert {place.key for place in places} == set(source.shapes)
            stored += len(
                {id(one.variable) for place in places for one in place.parts} - {id(None)}
            )
        assert stored + len(written.left_out) == len(built.weights)
        if written.left_out:
            with pytest.raises(UserError, match="has no keys for"):
                export(built, target, tmp_path / f"{target}_again")


@pytest.mark.parametrize("target", ["huggingface", "big_vision", "t5x", "mesh_tensorflow"])
def test_the_type_of_what_is_written(pair, target, tmp_path):
    part = pair.vision if target == "big_vision" else pair.language
    whole = export(part, target, tmp_path / "whole")
    half = export(part, target, tmp_path / "half", dtype="bfloat16")
    one, other = (
        weight_formats.open_source(next(iter(written.paths.values())))[1]
        for written in (whole, half)
    )
    assert one.shapes == other.shapes
    for key in one.shapes:
        got = other.value(key)
        assert got.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(got, one.value(key).astype(ml_dtypes.bfloat16))


def test_what_a_type_cannot_hold_is_refused(tmp_path):
    model = Vit(VitConfig(size="debug"), name="vit")
    model.patches.projection.bias.assign(np.full(16, 7e4))
    with pytest.raises(
        UserError, match="embedding/bias has numbers up to 7e.04, which float16 can"
    ):
        export(model, "big_vision", tmp_path / "out.npz", dtype="float16")
    assert not list(tmp_path.iterdir())


def test_several_files_of_a_size(pair, tmp_path):
    whole = export(pair.language, "huggingface", tmp_path / "whole").paths["language"]
    limit = 6000
    parts = tmp_path / "parts"
    export(pair.language, "huggingface", parts, shard_bytes=limit)
    files = sorted(path.name for path in parts.glob("*.safetensors"))
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors" and len(files) > 3
    index = json.loads((parts / "model.safetensors.index.json").read_text())
    one, other = (weight_formats.open_source(str(path))[1] for path in (whole, parts))
    assert one.shapes == other.shapes and set(index["weight_map"]) == set(one.shapes)
    sizes = {name: [] for name in files}
    for key in one.shapes:
        got = other.value(key)
        np.testing.assert_array_equal(got, one.value(key))
        sizes[index["weight_map"][key]].append(got.nbytes)
    assert all(sum(held) <= limit or len(held) == 1 for held in sizes.values())
    assert index["metadata"]["total_size"] == sum(sum(held) for held in sizes.values())
    with pytest.raises(UserError, match="--shard_size is given, but --to=big_vision has one file"):
        export(pair.vision, "big_vision", tmp_path / "out.npz", shard_bytes=limit)
