"""Files and SavedModels that go with a run: checked, copied into its folder, known by content."""

import dataclasses
import shutil

import pytest

from mm_models.config_tools import travelling_file, travelling_model
from mm_models.errors import UserError
from trainers.config.schema import ExperimentConfig
from trainers.loop import run_folder
from trainers.loop.identity import identity_of
from trainers.travelling import content_of, model_folder


@dataclasses.dataclass
class EncoderTaskConfig:
    name: str = "toy"
    words: str = travelling_file("write one")
    encoder: str = travelling_model("export one")
    other: str = travelling_model("export another")


def _model(folder, graph: str = "graph") -> str:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(graph)
    (folder / "variables" / "variables.index").write_text("index")
    return str(folder)


def _config(**fields) -> ExperimentConfig:
    return ExperimentConfig(task=EncoderTaskConfig(**fields))


def _identity(**fields) -> dict:
    return identity_of(_config(**fields), lambda _: {})["task"]


def test_the_latest_version_alone_goes_into_the_run_and_is_read_there(tmp_path):
    for version in ("2", "10", "11"):
        _model(tmp_path / "exported" / "words" / version, f"graph {version}")
    # A version that is being written, and a folder that is none.
    (tmp_path / "exported" / "words" / "11" / "saved_model.pb").unlink()
    _model(tmp_path / "exported" / "words" / "latest")
    path, assets = str(tmp_path / "exported" / "words"), tmp_path / "run" / "assets"
    assert model_folder(path) == f"{path}/10"
    run_folder.check_travelling_files(_config(encoder=path))
    copied = run_folder.with_copied_assets(_config(encoder=path), str(assets)).task.encoder
    assert copied == str(assets / "words")
    found = sorted(str(each.relative_to(assets)) for each in assets.rglob("*") if each.is_file())
    assert found == ["words/saved_model.pb", "words/variables/variables.index"]
    assert (assets / "words" / "saved_model.pb").read_text() == "graph 10"
    # Where the run lies now, and the original is gone.
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "run", moved)
    shutil.rmtree(tmp_path / "exported")
    assert run_folder._in_folder(copied, str(moved)) == str(moved / "assets" / "words")


def test_copies_of_one_name_stay_apart_and_a_changed_model_replaces_its_copy(tmp_path):
    first = _model(tmp_path / "a" / "words" / "3", "first")
    second = _model(tmp_path / "b" / "words" / "3", "second")
    config, assets = _config(encoder=first, other=second), str(tmp_path / "assets")
    task = run_folder.with_copied_assets(config, assets).task
    assert task.encoder == f"{assets}/words-3" and task.other == f"{assets}/1-words-3"
    shutil.rmtree(first)
    _model(tmp_path / "a" / "words" / "3", "third")
    (tmp_path / "assets" / "words-3" / "left_over").write_text("of an older model")
    run_folder.with_copied_assets(config, assets)
    assert content_of(task.encoder) == content_of(first)
    # A copy is not copied onto itself.
    assert run_folder.with_copied_assets(_config(encoder=task.encoder), assets).task == (
        EncoderTaskConfig(encoder=task.encoder)
    )


def test_a_model_is_known_by_all_of_its_files_wherever_it_lies(tmp_path):
    first = _model(tmp_path / "words")
    copied = str(tmp_path / "elsewhere" / "7")
    shutil.copytree(first, copied)
    known = _identity(encoder=first)["encoder"]
    assert known == _identity(encoder=copied)["encoder"]
    assert known == _identity(encoder=str(tmp_path / "elsewhere"))["encoder"]
    (tmp_path / "words" / "variables" / "variables.index").write_text("other")
    changed = _identity(encoder=first)["encoder"]
    (tmp_path / "elsewhere" / "7" / "fingerprint.pb").write_text("new")
    assert len({known, changed, _identity(encoder=copied)["encoder"]}) == 3


@pytest.mark.parametrize(
    ("field", "place", "said"),
    [
        ("encoder", "nowhere", "task.encoder is .*nowhere', which does not exist; export one"),
        ("encoder", "empty", "task.encoder is .*empty', which holds no saved_model.pb, neither"),
        ("encoder", "file", "task.encoder is .*file', which holds no saved_model.pb, neither"),
        ("words", "empty", "task.words is .*empty', a folder; name a file: write one"),
    ],
)
def test_what_is_not_there_or_of_the_other_kind_is_refused(tmp_path, field, place, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=said):
        run_folder.check_travelling_files(_config(**{field: str(tmp_path / place)}))
