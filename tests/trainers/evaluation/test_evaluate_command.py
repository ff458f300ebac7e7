import json

import pytest

import mmstack
from mm_models.errors import UserError
from trainers.commands import evaluate


def test_table_puts_chance_beside_the_scores():
    table = evaluate.table(
        {"zero_shot": {"top1": 0.8123456, "num_examples": 600.0}}, {"zero_shot": {"top1": 0.1}}
    )
    assert table.splitlines() == [
        "evaluator  metric        score   chance",
        "---------  ------------  ------  ------",
        "zero_shot  top1          0.8123  0.1",
        "zero_shot  num_examples  600",
    ]


def test_evaluators_are_chosen_by_name():
    assert evaluate.select(["a", "b"], []) == ["a", "b"]
    assert evaluate.select(["a", "b"], ["b"]) == ["b"]
    with pytest.raises(UserError, match="'c' is not among"):
        evaluate.select(["a", "b"], ["c"])
    with pytest.raises(UserError, match="no evaluators"):
        evaluate.select([], [])


def test_only_evaluators_and_runtime_may_be_overridden():
    evaluate.check_overrides(["evaluators.a.gallery_size=10", "runtime.jit_compile=true"])
    with pytest.raises(UserError, match="would change the trained experiment"):
        evaluate.check_overrides(["task.temperature=1"])


def test_json_appears_by_rename(tmp_path):
    path = tmp_path / "new" / "scores.json"
    evaluate.write_json(str(path), {"a": 1.5})
    assert json.loads(path.read_text()) == {"a": 1.5}
    assert [entry.name for entry in path.parent.iterdir()] == ["scores.json"]


def test_a_folder_that_is_no_run_is_named(tmp_path, capsys):
    assert mmstack.main(["eval", f"--model_dir={tmp_path}"]) == 2
    assert f"{tmp_path} is no run folder" in capsys.readouterr().err
