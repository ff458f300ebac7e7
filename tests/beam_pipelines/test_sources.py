"""Folder and CSV adapters, and the manifests they write."""

import json
import pathlib

import pytest

from beam_pipelines import manifest
from beam_pipelines.rejects import RejectCode
from beam_pipelines.sources.csv_table import ColumnMapping, read_csv
from beam_pipelines.sources.folder import read_folder
from mm_models.errors import UserError
from mmstack import main

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"


def make(folder: pathlib.Path, **files: bytes) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_folder_with_sidecars(tmp_path):
    make(
        tmp_path,
        dogs__a_DOT_mp4=b"",
        dogs__a_DOT_txt=b"caf\xe9",
        dogs__a_DOT_mp4_DOT_srt=b"1\n00:00:01,000 --> 00:00:02,000\nbark\n",
        cats__b_DOT_PNG=b"",
        cats__b_DOT_json=b'{"split": "val", "metadata": {"source": "x"}}',
        cats__c_DOT_wav=b"",
        cats__c_DOT_vtt=b"no cues",
        notes_DOT_md=b"",
    )
    b, c, a = read_folder(str(tmp_path), labels_from_folders=True)
    assert b["split"] == "val"
    assert b["metadata"] == {"source": "x"}
    assert b["labels"] == [{"index": 0, "text": "cats"}]
    assert c[0] == "cats/c.wav"
    assert c[1].code == RejectCode.BAD_CAPTIONS
    assert a["labels"] == [{"index": 1, "text": "dogs"}]
    assert [caption["text"] for caption in a["captions"]] == ["café", "bark"]
    assert a["metadata"] == {"caption_encoding": "latin-1"}


def test_folder_without_media(tmp_path):
    with pytest.raises(UserError, match="holds no media"):
        list(read_folder(str(tmp_path)))


def test_csv_columns(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(
        "name;clip;en;de;kind;part\nx;a.mp4;one;eins;dog;train\ny;b.mp4;;;cat;test\nz;c.mp4;;;;dev\n"
    )
    mapping = ColumnMapping("clip", "name", ("en", "de"), "kind", "part")
    x, y, z = read_csv(str(table), mapping, delimiter=";", check_files=False)
    assert x == {
        "id": "x",
        "media": "a.mp4",
        "captions": [{"text": "one"}, {"text": "eins"}],
        "labels": [{"index": 1, "text": "dog"}],
        "split": "train",
    }
    assert y["captions"] == []
    assert z[1].code == RejectCode.BAD_METADATA
    with pytest.raises(UserError, match="no column 'none'; its columns are name, clip"):
        list(read_csv(str(table), ColumnMapping("none"), delimiter=";"))


def test_manifest_command_accounts_for_everything(tmp_path, capsys):
    media = tmp_path / "media"
    make(media, a_DOT_mp4=b"x", b_DOT_mp4=b"x", b_DOT_json=b"{")
    output = tmp_path / "m.jsonl"
    arguments = ["manifest", "folder", f"--folder={media}", f"--output={output}"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "items found     2" in printed
    assert "items rejected  1" in printed
    (line,) = manifest.read(str(output))
    assert line.item["media"] == "media/a.mp4"
    assert manifest.media_path(str(output), line.item) == str(media / "a.mp4")
    (reject,) = (tmp_path / "m.jsonl.rejects.jsonl").read_text().splitlines()
    assert json.loads(reject)["code"] == "bad_captions"
    assert main(arguments) == 2
    assert "exists" in capsys.readouterr().err
    assert not list(tmp_path.glob(".tmp-*"))


def test_repeated_ids_become_rejects(tmp_path, capsys):
    make(tmp_path, a_DOT_wav=b"x", t_DOT_csv=b"file,caption\na.wav,one\na.wav,two\n")
    output = tmp_path / "m.jsonl"
    arguments = ["manifest", "csv", f"--table={tmp_path}/t.csv", f"--output={output}"]
    assert main(arguments) == 0
    assert "duplicate_id" in capsys.readouterr().out
    assert len(list(manifest.read(str(output)))) == 1


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")
def test_real_folders():
    items = list(read_folder(str(DATA / "esc10"), labels_from_folders=True))
    assert len(items) == 140
    assert len({item["labels"][0]["text"] for item in items}) == 10
    (friday,) = (i for i in read_folder(str(DATA / "av_clips")) if i["id"] == "friday.mp4")
    assert len(friday["captions"]) == 5
