"""`mmstack convert`: a published checkpoint becomes a run, and a run becomes one again."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

import mmstack
from mm_models.checkpoints import weight_formats
from mm_models.checkpoints.weight_formats import Output
from mm_models.vatt.key_maps import KEY_MAPS
from mm_models.vatt.model import VattModel
from tests.trainers import record_factory
from trainers import initialization, runs
from trainers.config.loading import load_config
from trainers.config.schema import InitializeConfig

YAML = """
name: published
task:
  name: vatt
  model:
    preset: reference_code
    video: {{size: debug, num_layers: 1}}
    audio: {{size: debug, num_layers: 1}}
    text: {{size: debug, num_layers: 1}}
    head: {{size: debug}}
streams:
  clips:
    input:
      batch_size: 8
      datasets: {{small: {{path: {folder}/records}}}}
      video: {{num_frames: 4, height: 16, width: 16, crop: center}}
      audio: {{num_samples: 1024, sample_rate_hz: 8000}}
      text: {{num_candidates: 2, num_tokens: 8, vocabulary: {folder}/words.txt}}
trainer: {{ema: {{decay: 0.9}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`experiment.yaml`, and `published/ckpt-9` for it."""
    path = tmp_path_factory.mktemp("convert")
    record_factory.write_record_folder(path / "records")
    record_factory.write_word_vocabulary(path / "words.txt")
    (path / "experiment.yaml").write_text(YAML.format(folder=path))
    model = VattModel(load_config([str(path / "experiment.yaml")]).task.model)
    weight_formats.write(KEY_MAPS[0], model, str(path / "published"), Output(9))
    return path


def convert(folder, model_dir: str, *flags: str) -> int:
    return mmstack.main(
        [
            "convert",
            "--from=vatt",
            f"--config_file={folder}/experiment.yaml",
            f"--checkpoint={folder}/published/ckpt-9",
            f"--model_dir={folder}/{model_dir}",
            *flags,
        ]
    )


def tensors(path) -> dict:
    reader = tf.train.load_checkpoint(str(path))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if name.startswith(("model", "opt"))}


def test_there_and_back_keeps_every_bit(folder, capsys):
    assert convert(folder, "run") == 0
    output = capsys.readouterr().out
    num_keys = len(tensors(folder / "published/ckpt-9")) - 1
    assert f"step 9:\n  loaded {num_keys}\n  resized 0\n  skipped 0\n  unmapped 0\n" in output
    assert "vatt into VattModel, " in output and "in no source" not in output
    loaded = runs.load_run(str(folder / "run"))
    assert loaded.step == 9
    text = loaded.config.streams["clips"].input.text
    assert text.vocabulary == str(folder / "run" / "assets" / "words.txt")
    kept = json.loads((folder / "run" / "conversion.json").read_text())
    assert len(kept["imported"][0]["report"]["loaded"]) == num_keys and kept["new"] == []
    back = ["convert", "--to=vatt", f"--model_dir={folder}/run", f"--output={folder}/back"]
    assert mmstack.main(back) == 0
    one, other = tensors(folder / "published/ckpt-9"), tensors(folder / "back/ckpt-9")
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


CLASSIFIER = """
name: fine_tuned
task:
  name: vatt_classification
  num_classes: 10
  model:
    preset: reference_code
    video: {{size: debug, num_layers: 1}}
streams:
  clips:
    input:
      batch_size: 8
      labels: {{num_labels: 1}}
      datasets: {{small: {{path: {folder}/records}}}}
      video: {{num_frames: 4, height: 16, width: 16, crop: center}}
"""


def test_a_published_classifier_and_a_new_one_on_a_published_tower(folder):
    path = folder / "classifier.yaml"
    path.write_text(CLASSIFIER.format(folder=folder))
    config = load_config([str(path)])
    assert convert(folder, "source") == 0
    start = InitializeConfig(model_dir=str(folder / "source"))
    source = initialization.read_sources({"a": start})["a"]
    model = runs.build_model(runs.build_task(config), config)
    found = initialization.initialize(model, source, start).match
    assert found.new == ["classifier/kernel", "classifier/bias"]

    published = weight_formats.write(KEY_MAPS[0], model, str(folder / "fine_tuned"), Output(3))
    words = ["convert", "--from=vatt", f"--config_file={path}", f"--checkpoint={published}"]
    assert mmstack.main([*words, f"--model_dir={folder}/classifier"]) == 0
    loaded = runs.load_run(str(folder / "classifier"))
    assert loaded.step == 3 and loaded.task.class_names == list(record_factory.WORDS)
    for one, other in zip(model.weights, loaded.model.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_model_alone_is_config_enough(folder, capsys):
    path = folder / "model.yaml"
    model = (folder / "experiment.yaml").read_text().partition("streams:")[0]
    path.write_text(model)
    words = ["convert", f"--config_file={path}", f"--checkpoint={folder}/published/ckpt-9"]
    assert mmstack.main([*words, f"--model_dir={folder}/alone"]) == 0
    assert "it is for starting from (initialize.<name>.model_dir)" in capsys.readouterr().out
    start = InitializeConfig(model_dir=str(folder / "alone"))
    initialization.check_sources({"a": start})
    model = runs.load_run(str(folder / "alone")).model
    values = initialization.read_sources({"a": start})["a"].values
    assert values.keys() == {weight.path for weight in model.weights}
    back = ["convert", "--to=vatt", f"--model_dir={folder}/alone", f"--output={folder}/alone_back"]
    assert mmstack.main(back) == 0
    one, other = tensors(folder / "published/ckpt-9"), tensors(folder / "alone_back/ckpt-9")
    assert all(np.array_equal(one[name], other[name]) for name in one)
    for command, message in (
        (["train", f"--config_file={path}", f"--model_dir={folder}/new"], "streams is empty"),
        (["export", f"--model_dir={folder}/alone", f"--output={folder}/e"], "has no streams"),
    ):
        assert mmstack.main(command) == 2
        assert message in capsys.readouterr().err


def test_such_a_run_is_not_resumed_by_mistake(folder, capsys):
    assert convert(folder, "kept") == 0
    words = ["train", f"--config_file={folder}/experiment.yaml", f"--model_dir={folder}/kept"]
    assert mmstack.main(words) == 2
    message = capsys.readouterr().err
    assert "is a checkpoint of another experiment" in message, message
    assert "converted_from" in message, message
    assert (folder / "kept/checkpoints/ckpt-9.index").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--set", "task.model.video.size=digits"], "has .*, the model"),
        (["--set", "task.model.preset=paper"], "task.model.preset to reference_code"),
        (["--set", "task.model.video.num_layers=2"], "lacks 16 key.*--allow=PATTERN"),
        (["--checkpoint=/nowhere/ckpt-1"], "no weights at /nowhere/ckpt-1; give"),
        (["--output=somewhere"], "--output mean nothing to an import"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(folder, flags, words, capsys):
    assert convert(folder, "wrong", *flags) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert re.search(words, message), message
    assert not (folder / "wrong").exists()


def test_flags_of_the_other_direction(folder, capsys):
    for words, expected in (
        (["--to=vatt", f"--model_dir={folder}"], "--to needs --output"),
        (["--from=vatt", f"--model_dir={folder}"], "needs --checkpoint and --config_file"),
        (
            ["--to=vatt", f"--model_dir={folder}", "--output=x", "--set=y"],
            "--set mean nothing to --to",
        ),
    ):
        assert mmstack.main(["convert", *words]) == 2
        assert expected in capsys.readouterr().err
