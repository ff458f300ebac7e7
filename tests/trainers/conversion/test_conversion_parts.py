"""Public weights of several parts of one model: each finds its own, and goes out again."""

import argparse
import subprocess
import sys
import types

import numpy as np
import pytest

from mm_models.backbones.vit import Vit
from mm_models.checkpoints import weight_formats
from mm_models.checkpoints.key_maps import KEY_MAPS, KeyMap
from mm_models.errors import UserError
from tests import batteries
from tests.trainers.conversion.pair import VISION, Pair
from trainers import conversion, registry, weight_export
from trainers.commands import convert


def export(model, target: str, path, allow=("^join/",)) -> dict:
    run = types.SimpleNamespace(model=model, step=4, config={})
    return weight_export.export_run(run, target, str(path), allow=allow).paths


def test_each_source_fills_its_part_and_all_comes_back(tmp_path):
    model = Pair()
    batteries.shake(model)
    written = export(model, "huggingface", tmp_path / "parts")
    assert written == {name: str(tmp_path / "parts" / name) for name in ("vision", "language")}
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
    written |= export(model.vision, "big_vision", tmp_path / "vision.npz")
    assert export(model.language, "t5x", tmp_path / "t5x").keys() == {"language"}
    for vision, language in (
        (written["vision"], tmp_path / "t5x"),
        (tmp_path / "parts" / "vision", written["language"]),
    ):
        again = Pair()
        opened = conversion.open_sources([str(vision), str(language)])
        done = conversion.import_weights(again, opened)
        assert [one.part for one in done.imported] == ["Vit", "T5"]
        assert done.new == ["join/kernel", "join/bias"]
        assert all(weight.path.startswith("vision/") for weight in again.vision.weights)
        assert "in no source, as they start: 2\n  join/kernel\n  join/bias" in str(done)
        for part in ("vision", "language"):
            pairs = zip(getattr(model, part).weights, getattr(again, part).weights, strict=True)
            for one, other in pairs:
                np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


def test_sources_that_find_no_place_of_their_own_are_named(tmp_path):
    model = Pair()
    path = export(model.vision, "huggingface", tmp_path / "vit")["vision"]
    opened = conversion.open_sources([path])
    with pytest.raises(UserError, match="weights of a Vit, of which the model .* has none"):
        conversion.import_weights(model.language, opened)
    with pytest.raises(UserError, match="are both weights of the model's Vit; leave one out"):
        conversion.import_weights(model, [*opened, *opened])
    with pytest.raises(UserError, match="is of format huggingface, not big_vision"):
        conversion.open_sources([path], "big_vision")
    with pytest.raises(
        UserError,
        match="--to=vatt has no keys for any part of this Pair; those of big_vision, huggingface, ",
    ):
        export(model, "vatt", tmp_path / "vatt")
    model.other = Vit(VISION, name="other")
    with pytest.raises(UserError, match="has 2, which nothing tells apart"):
        conversion.import_weights(model, opened)


def test_the_command_knows_every_format():
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    choices = {action.dest: action.choices for action in parser._actions}
    expected = {"big_vision", "huggingface", "t5x", "mesh_tensorflow", "vatt"}
    assert set(choices["source"]) == set(choices["target"]) == expected


def test_the_formats_of_the_command_cost_no_import_of_tensorflow():
    words = "import sys, mmstack\nmmstack.main(['convert', '--help'])"
    code = f"try:\n exec({words!r})\nfinally: assert 'tensorflow' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0 and "mesh_tensorflow" in run.stdout, run.stderr


@pytest.mark.parametrize("key_map", registry.key_maps(), ids=lambda one: one.places)
def test_what_key_maps_name_exists(key_map):
    references = (key_map.part, key_map.places, key_map.canonical, key_map.fits, key_map.check)
    for reference in filter(None, (*references, key_map.settings)):
        assert callable(registry.resolve(reference))
    assert key_map.container in weight_formats.CONTAINERS


def test_systems_bring_formats_of_their_own(monkeypatch):
    own = KeyMap("toy", "npz", "^toy/", "mm_models.backbones.vit:Vit", "toy:places")
    monkeypatch.setattr(registry, "resolve", lambda reference: (own,))
    assert registry.key_maps() == (*KEY_MAPS, own)
    assert registry.weight_formats()[-1] == "toy"
