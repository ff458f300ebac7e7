"""Folder and CSV adapters, and the manifests they write."""

import json
import pathlib

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.csv_table import read_csv
from beam_pipelines.sources.folder import read_folder
from beam_pipelines.sources.splits import draw_splits
from beam_pipelines.sources.table_columns import ColumnMapping
from mm_models.errors import UserError
from mmstack import main

DATA = pathlib.Path(__file__).parents[4] / "shared" / "data"


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


@pytest.mark.parametrize("wrapped", [False, True])
def test_rows_that_name_their_files_tell_captions(tmp_path, wrapped):
    rows = [
        {"file_name": "a.wav", "captions": ["one", "two"], "licence": "CC0"},
        {"file_name": "none.wav", "captions": ["three"]},
    ]
    content = {"note": "by hand", "clips": rows} if wrapped else rows
    make(tmp_path, a_DOT_wav=b"x", t_DOT_json=json.dumps(content).encode())
    (item,) = read_folder(str(tmp_path))
    assert [caption["text"] for caption in item["captions"]] == ["one", "two"]
    assert item["metadata"] == {"licence": "CC0"}


def test_rows_of_the_same_file_are_not_guessed_at(tmp_path):
    rows = [{"file": "a.wav", "captions": [words]} for words in ("one", "two")]
    make(tmp_path, a_DOT_wav=b"x", t_DOT_json=json.dumps(rows).encode())
    (item,) = read_folder(str(tmp_path))
    assert "captions" not in item


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")
def test_real_folders():
    items = list(read_folder(str(DATA / "esc10"), labels_from_folders=True))
    assert len(items) == 140
    assert len({item["labels"][0]["text"] for item in items}) == 10
    (friday,) = (i for i in read_folder(str(DATA / "av_clips")) if i["id"] == "friday.mp4")
    # Three of the file that all clips share, and five of its own.
    assert len(friday["captions"]) == 8


def test_csv_rows_by_pattern_and_splits_by_name(tmp_path):
    table = tmp_path / "t.csv"
    rows = ["good/a.wav,1,dog", "good/b.wav,4,cat", "bad/c.wav,1,elk", "good/d.wav,5,dog"]
    table.write_text("\n".join(["file,fold,kind", *rows]) + "\n")
    mapping = ColumnMapping(
        captions=(),
        label="kind",
        split="fold",
        split_names={"1": "train", "4": "test"},
        where={"file": "good/*"},
    )
    a, b, d = read_csv(str(table), mapping, check_files=False)
    assert (a["split"], b["split"]) == ("train", "test")
    # Labels are those of the rows that stay: without the elk, the dog is second.
    assert [item["labels"][0]["index"] for item in (a, b)] == [1, 0]
    assert d[0] == "row 5" and "'5' is not 1, 4" in d[1].detail
    with pytest.raises(UserError, match="no row that matches"):
        list(read_csv(str(table), ColumnMapping(captions=(), where={"kind": "emu"})))


def test_splits_of_exact_sizes_depend_on_the_ids_alone():
    items = [{"id": f"clip {number}", "media": "x"} for number in range(20)]
    reject = ("row 9", Reject(RejectCode.FILE_MISSING, "gone"))
    drawn = list(draw_splits([*items, reject], {"train": 13, "test": 7}))
    assert drawn.pop() == reject
    assert [item["id"] for item in drawn] == [item["id"] for item in items]
    splits = {item["id"]: item["split"] for item in drawn}
    assert sorted(splits.values()).count("train") == 13
    again = {
        item["id"]: item["split"] for item in draw_splits(items[::-1], {"train": 13, "test": 7})
    }
    assert again == splits
    smallest = sorted(splits, key=lambda name: manifest.stable_hash(name, "split"))[:13]
    assert {name for name, split in splits.items() if split == "train"} == set(smallest)
    with pytest.raises(UserError, match="asks for 12 items and there are 20"):
        list(draw_splits(items, {"train": 12}))
    with pytest.raises(UserError, match="names its split itself"):
        list(draw_splits([items[0] | {"split": "val"}], {"train": 1}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split_sizes=train=x"], "'train=x' is not split=items"),
        (["--split_names=1=train"], "name their column by --split_column"),
        (["--split_column=caption", "--split_names=1=dev"], "'dev' is not one of train, val, test"),
        (["--split_column=caption", "--split_sizes=train=1"], "drop one"),
        (["--where=file"], "--where 'file': expected name=value"),
        (["--where=speaker=s1"], "no column 'speaker'"),
    ],
)
def test_mistakes_in_table_flags_are_named(tmp_path, capsys, options, message):
    make(tmp_path, a_DOT_wav=b"x", t_DOT_csv=b"file,caption\na.wav,one\n")
    output = f"--output={tmp_path}/m.jsonl"
    assert main(["manifest", "csv", f"--table={tmp_path}/t.csv", output, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")
def test_manifests_of_real_tables(tmp_path):
    def items(table, *options):
        output = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        arguments = [f"--table={DATA / table}", f"--output={output}", *options]
        assert main(["manifest", "csv", *arguments]) == 0
        return [line.item for line in manifest.read(str(output))]

    grid = items(
        *("grid/transcripts.csv", "--where=file=s1/*", "--id_column=id"),
        *("--caption_columns=transcript", "--split_sizes=train=420,test=140"),
    )
    assert sum(item["split"] == "test" for item in grid) == 140 and len(grid) == 560
    words = {word for item in grid for word in item["captions"][0]["text"].split()}
    assert len(words) == 51
    esc10 = items(
        *("esc10/labels.csv", "--caption_columns=", "--label_column=class_name"),
        *("--split_column=fold", "--split_names=1=train,2=train,3=train,4=test"),
    )
    assert len(esc10) == 140 and sum(item["split"] == "test" for item in esc10) == 32
    assert {item["labels"][0]["index"] for item in esc10} == set(range(10))


def test_words_of_an_alignment_become_timed_captions(tmp_path):
    make(tmp_path, a_DOT_align=b"0 5000 sil\n5000 10000 bin\n10000 20000 blue\n20000 25000 sp\n")
    make(tmp_path, b_DOT_align=b"5 words\n")
    rows = ["a.wav,bin blue,a.align", "b.wav,x,b.align", "c.wav,x,gone.align", "d.wav,x,"]
    (tmp_path / "t.csv").write_text("\n".join(["file,caption,words", *rows]) + "\n")
    mapping = ColumnMapping(word_times="words")
    a, b, c, d = read_csv(str(tmp_path / "t.csv"), mapping, check_files=False)
    assert a["captions"] == [
        {"text": "bin blue"},
        {"text": "bin", "start_seconds": 0.2, "end_seconds": 0.4, "style": "word"},
        {"text": "blue", "start_seconds": 0.4, "end_seconds": 0.8, "style": "word"},
    ]
    assert b[0] == "row 3" and b[1].code == RejectCode.BAD_CAPTIONS
    assert c[0] == "row 4" and c[1].code == RejectCode.FILE_MISSING
    assert d["captions"] == [{"text": "x"}]
