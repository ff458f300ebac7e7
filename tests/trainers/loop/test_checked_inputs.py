"""Commands look at what they will read before they build anything."""

import pathlib

import pytest

import mmstack
from export.doctor import run_folder as doctor
from export.doctor.findings import Level
from tests.trainers.record_factory import Recipe, write_record_folder
from trainers.config.loading import load_config
from trainers.loop import modes, run_folder

ROOT = pathlib.Path(__file__).parents[3]
CONFIG = str(ROOT / "configs/pali/digits_vit_debug.yaml")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with records where the smallest classifier looks for them."""
    write_record_folder(
        tmp_path / "data/digits-single", Recipe(splits={"train": 20, "test": 4}, num_frames=2)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_is_built_for_data_that_teach_nothing(here, monkeypatch, capsys):
    def assemble(*_, **__):
        raise AssertionError("weights were built")

    monkeypatch.setattr(modes, "assemble", assemble)
    unlabelled = "streams.pictures.input.datasets.single.feature_names={clip/label/index: class}"
    untested = "evaluators.test.input.datasets.single.feature_names={image/encoded: picture}"
    few = "task.num_classes=3"
    folder = here / "data/digits-single"
    (folder / "dataset_info.json").write_text(
        (folder / "dataset_info.json").read_text().replace('"labels":', '"others":')
    )
    for mode, setting, piece in (
        ("train", unlabelled, "streams.pictures.input.datasets.single.feature_names maps"),
        ("train_and_eval", untested, "evaluators.test.input.datasets.single.feature_names maps"),
        ("eval", untested, "evaluators.test.input.datasets.single.feature_names maps"),
        ("train", few, "streams.pictures.input.labels, in "),
    ):
        words = ["train", f"--config_file={CONFIG}", "--model_dir=run", f"--mode={mode}"]
        words.append("--set=task.num_classes=10")
        assert mmstack.main([*words, f"--set={setting}"]) == 2
        said = capsys.readouterr().err
        assert piece in said and said.count("mmstack train:") == 1
    assert not (here / "run/checkpoints").exists()


def test_a_dry_run_and_the_doctor_say_what_the_inputs_hold(here, capsys):
    small = "--set=evaluators.test.max_examples=4"
    assert mmstack.main(["train", f"--config_file={CONFIG}", "--dry_run", small]) == 0
    printed = capsys.readouterr().out
    assert "single: of 20 records, video 100%, labels 100%" in printed
    assert "evaluators.test.input:\n  single: of 4 records, video 100%, labels 100%" in printed
    assert "labels of 8 rows: rows that have it 1, lowest class" in printed
    (here / "run").mkdir()
    run_folder.write_config(load_config([CONFIG]), "run")
    found = {each.subject: each for each in doctor.check_run("run")}
    assert found["streams.pictures.input"].level is Level.OK
    assert "video of 4 rows: rows that have it 1" in found["evaluators.test.input"].message
    (here / "data").rename(here / "moved")
    moved = [each for each in doctor.check_run("run") if each.subject == "run, its data"]
    assert [each.level for each in moved] == [Level.NOTE] and moved[0].remedy
