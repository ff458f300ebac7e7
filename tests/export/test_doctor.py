"""The doctor finds what is broken, says what to do, and is quiet about what is not."""

import argparse
import json

import pytest
import tensorflow as tf

from export.commands import doctor
from export.doctor import data_folder, export_folder, machine, run_folder
from export.doctor.findings import Level, problem
from tests.export.tiny_model import write_tiny_model
from tests.trainers.record_factory import write_record_folder


def _problems(findings):
    return [finding for finding in findings if finding.level is Level.PROBLEM]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "records"
    write_record_folder(folder)
    info_file = folder / "dataset_info.json"
    info = json.loads(info_file.read_text())
    total = sum(split["num_records"] for split in info["splits"].values())
    info["counts"] = {
        **{"items": total, "items_with_records": total, "records": total},
        **{"rejected_items": 0, "rejected_clips": 0},
    }
    info_file.write_text(json.dumps(info))
    return folder


def _truncate(folder):
    shard = next(folder.glob("train-*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-5])


def _flip(folder):
    shard = next(folder.glob("train-*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def _move_an_offset(folder):
    index = next(folder.glob("train-*.index"))
    content = bytearray(index.read_bytes())
    content[8] ^= 1
    index.write_bytes(content)


def _edit_info(folder, edit):
    info = json.loads((folder / "dataset_info.json").read_text())
    edit(info)
    (folder / "dataset_info.json").write_text(json.dumps(info))


DAMAGES = {
    "truncated shard": (_truncate, "bytes, expected"),
    "flipped bit": (_flip, "SHA-256"),
    "missing shard": (lambda f: next(f.glob("test-*.tfrecord")).unlink(), "missing"),
    "cut index": (lambda f: next(f.glob("*.index")).write_bytes(b"\0" * 8), "8 bytes, expected"),
    "wrong index": (
        lambda f: (i := next(f.glob("*.index"))).write_bytes(b"\1" + i.read_bytes()[1:]),
        "offsets",
    ),
    "flipped offset": (_move_an_offset, "no record starts at 2 of its"),
    "no info": (lambda f: (f / "dataset_info.json").unlink(), "no dataset_info.json"),
    "broken info": (lambda f: (f / "dataset_info.json").write_text("{"), "damaged"),
    "other format": (lambda f: _edit_info(f, lambda i: i.update(format_version=9)), "9, known"),
    "a shard that is no object": (
        lambda f: _edit_info(f, lambda i: i["splits"]["train"].update(shards=[3])),
        "unreadable entry",
    ),
    "counts": (lambda f: _edit_info(f, lambda i: i["counts"].update(records=1)), "do not add up"),
}


def test_intact_data(data):
    assert _problems(data_folder.check_data(str(data))) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data(data, damage):
    spoil, words = DAMAGES[damage]
    spoil(data)
    problems = _problems(data_folder.check_data(str(data)))
    assert any(words in finding.message for finding in problems), problems
    assert all(finding.remedy for finding in problems)


def test_run_folder(tmp_path):
    assert "no config.yaml" in _problems(run_folder.check_run(str(tmp_path)))[0].message
    (tmp_path / "config.yaml").write_text("colour: blue\n")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    checkpoint = tf.train.Checkpoint(weights=tf.Variable(tf.random.normal([64])))
    checkpoint.write(str(tmp_path / "checkpoints" / "ckpt-1"))
    findings = list(run_folder.check_run(str(tmp_path)))
    assert [finding.subject.endswith("config.yaml") for finding in _problems(findings)] == [True]
    assert any("1 of 1 checkpoints" in finding.message for finding in findings)
    assert any("line 2" in finding.message for finding in findings)
    data_file = tmp_path / "checkpoints" / "ckpt-1.data-00000-of-00001"
    content = bytearray(data_file.read_bytes())
    content[100] ^= 255
    data_file.write_bytes(content)
    problems = _problems(run_folder.check_run(str(tmp_path)))
    assert any("damaged" in finding.message for finding in problems)


def test_export_folder(tmp_path):
    assert _problems(export_folder.check_export(str(tmp_path / "none")))
    write_tiny_model(tmp_path, 1, offset=0.0)
    problems = _problems(export_folder.check_export(str(tmp_path)))
    assert "model_info.json" in problems[0].message
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\xff\xff")
    assert "damaged" in _problems(export_folder.check_export(str(tmp_path)))[0].message


def test_this_machine_and_exit_codes(monkeypatch, capsys, data):
    assert _problems(machine.check_machine()) == []
    args = argparse.Namespace(data=[str(data)], model_dir="", export_dir="", quick=True)
    assert doctor.run(args) == 0, capsys.readouterr().out
    monkeypatch.setattr(machine, "check_machine", lambda: [problem("here", "broken", "mend it")])
    assert doctor.run(args) == 1
    assert "[problem] here: broken → mend it" in capsys.readouterr().out


def test_versions_are_compared(monkeypatch):
    installed = machine.importlib.metadata.version
    monkeypatch.setattr(
        machine.importlib.metadata,
        "version",
        lambda name: "1.0.0" if name == "keras" else installed(name),
    )
    problems = _problems(machine.check_versions())
    assert [finding.subject for finding in problems] == ["keras"]
    assert "1.0.0, expected" in problems[0].message
