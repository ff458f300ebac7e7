"""Where the skeleton of a system goes, and what stands in its way; `tests/proof` fills one in."""

import ast

import pytest

import mmstack
from trainers import registry
from trainers.new_system import skeleton


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    monkeypatch.setattr(skeleton, "ROOT", tmp_path)
    return tmp_path


def test_a_checkout_gets_its_folders_and_the_registry_entry(checkout, capsys):
    assert mmstack.main(["new", "system", "phrase_finding"]) == 0
    files = {
        path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_file()
    }
    name = "phrase_finding"
    assert files == {
        f"mm_models/{name}/__init__.py",
        f"mm_models/{name}/config.py",
        f"mm_models/{name}/model.py",
        f"mm_models/{name}/README.md",
        f"trainers/tasks/{name}/__init__.py",
        f"trainers/tasks/{name}/task.py",
        f"export/signatures/{name}/__init__.py",
        f"export/signatures/{name}/signatures.py",
        f"configs/{name}/digits_debug.yaml",
        f"tests/trainers/tasks/{name}/__init__.py",
        f"tests/trainers/tasks/{name}/test_{name}.py",
    }
    printed = capsys.readouterr().out
    entry = printed.partition("registry.py:\n")[2].partition("then fill")[0]
    system = eval(f"{{{entry}}}", {"System": registry.System})[name]
    for reference, class_name in (
        (system.task, "PhraseFindingTask"),
        (system.task_config, "PhraseFindingTaskConfig"),
        (system.signatures, "PhraseFindingSignatures"),
    ):
        module, _, named = reference.partition(":")
        source = (checkout / f"{module.replace('.', '/')}.py").read_text()
        assert named == class_name
        assert class_name in {
            node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)
        }
    header = (checkout / "configs" / name / "digits_debug.yaml").read_text()
    assert f"--config_file=configs/{name}/digits_debug.yaml" in header


def test_nothing_is_written_over(checkout, capsys):
    taken = checkout / "configs" / "lips" / "digits_debug.yaml"
    taken.parent.mkdir()
    taken.write_text("mine")
    assert mmstack.main(["new", "system", "lips"]) == 2
    assert f"{taken} exists" in capsys.readouterr().err
    assert taken.read_text() == "mine" and not (checkout / "mm_models").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Lips", "is no name of a system"),
        ("2lips", "is no name of a system"),
        ("lip-speech", "is no name of a system"),
        ("class", "is no name of a system"),
        ("vatt", "there is a system 'vatt' already"),
    ],
)
def test_names_that_cannot_be_are_refused(name, message, checkout, capsys):
    assert mmstack.main(["new", "system", name]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in checkout.iterdir()] == ["configs"]


def test_a_package_needs_a_new_folder_and_code_without_a_checkout_an_output(
    checkout, capsys, tmp_path
):
    assert mmstack.main(["new", "system", "lips", f"--output={tmp_path}"]) == 2
    assert f"--output={tmp_path} exists" in capsys.readouterr().err
    (checkout / "configs").rmdir()
    assert mmstack.main(["new", "system", "lips"]) == 2
    assert "give --output" in capsys.readouterr().err
