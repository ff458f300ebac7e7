"""`mmstack convert` for vision transformers: a foreign backbone under a new classifier."""

import numpy as np
import pytest

import mmstack
from mm_models.backbones.vit import Vit, VitConfig
from mm_models.checkpoints import key_maps, weight_formats
from mm_models.checkpoints.containers.npz import NpzSource
from tests import batteries
from tests.trainers import record_factory
from trainers import runs

YAML = """
name: backbone
task:
  name: vit_classification
  model: {{size: debug, image_size: 16, pool: map, head_bias: -2.0}}
streams:
  clips:
    input:
      batch_size: 8
      labels: {{num_labels: 1}}
      datasets: {{small: {{path: {folder}/records}}}}
      video: {{num_frames: 1, height: 16, width: 16, crop: center}}
trainer: {{ema: {{decay: 0.9}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`experiment.yaml`, and `vit.npz` with the trunk and pooling for larger images."""
    path = tmp_path_factory.mktemp("vision")
    record_factory.write_record_folder(path / "records")
    (path / "experiment.yaml").write_text(YAML.format(folder=path))
    model = Vit(VitConfig(size="debug", pool="map"))
    batteries.shake(model)
    big_vision = next(one for one in key_maps.KEY_MAPS if one.format == "big_vision")
    weight_formats.write(big_vision, model, str(path / "vit.npz"))
    return path


def convert(folder, *flags: str) -> int:
    return mmstack.main(["convert", *(flag.format(folder=folder) for flag in flags)])


IMPORT = (
    "--checkpoint={folder}/vit.npz",
    "--config_file={folder}/experiment.yaml",
    "--model_dir={folder}/run",
)


def test_a_backbone_in_and_the_whole_model_out(folder, capsys):
    assert convert(folder, *IMPORT) == 2
    message = capsys.readouterr().err
    assert "vit.npz lacks 2 key(s): head/bias, head/kernel; give" in message
    assert not (folder / "run").exists()

    assert convert(folder, *IMPORT, "--allow=^head/") == 0
    output = capsys.readouterr().out
    assert "vit.npz, big_vision into Vit, step 0:\n  loaded " in output
    assert "resized 1\n    pos_embedding 16 -> 4 rows\n  skipped 2\n" in output
    assert "in no source, as they start: 2\n  vision/head/kernel\n  vision/head/bias" in output
    run = runs.load_run(str(folder / "run"))
    stored = NpzSource(str(folder / "vit.npz"))
    corners = stored.value("pos_embedding")[0, [0, 3, 12, 15]]
    np.testing.assert_allclose(run.model.vision.positions.table, corners, atol=1e-6, rtol=1e-4)
    np.testing.assert_array_equal(run.model.vision.head.bias, np.full(10, -2.0))

    back = ("--to=big_vision", "--model_dir={folder}/run", "--output={folder}/back.npz")
    assert convert(folder, *back) == 0
    num = len(run.model.vision.weights)
    assert f"wrote {folder}/back.npz (vision, {num} weights, step 0)" in capsys.readouterr().out
    written = NpzSource(str(folder / "back.npz"))
    assert written.shapes == {
        **stored.shapes,
        "pos_embedding": (1, 4, 16),
        "head/kernel": (16, 10),
        "head/bias": (10,),
    }
    for key in set(stored.shapes) - {"pos_embedding"}:
        np.testing.assert_array_equal(written.value(key), stored.value(key))
    assert convert(folder, *back) == 2
    assert "back.npz exists" in capsys.readouterr().err
    hub = ("--to=huggingface", "--model_dir={folder}/run", "--output={folder}/hub")
    assert convert(folder, *hub) == 2
    message = capsys.readouterr().err
    assert "--to=huggingface has no keys for any part" in message and "of big_vision are" in message


def test_mistakes_are_one_sentence(folder, capsys):
    new = (*IMPORT, "--model_dir={folder}/wrong")
    for flags, words in (
        ((*new, "--from=huggingface"), "is of format big_vision, not huggingface"),
        (
            (*new, "--set=task.model.num_heads=4"),
            "with num_heads 2 (not 4); set num_heads of its config",
        ),
        (
            ("--to=vatt", "--model_dir=x", "--output=y", "--checkpoint=a", "--checkpoint=b"),
            "--to writes the weights of one --checkpoint",
        ),
    ):
        assert convert(folder, *flags) == 2
        message = capsys.readouterr().err.strip()
        assert words in message and "\n" not in message, message
    assert not (folder / "wrong").exists()
