"""Everything that a source sees is an item, a reject or a note with a count."""

import collections
import json
import pathlib

import av
import pytest

from beam_pipelines.media import container
from beam_pipelines.rejects import RejectCode
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.coco import read_coco
from beam_pipelines.sources.coco_details import read_details
from beam_pipelines.sources.csv_table import read_csv
from beam_pipelines.sources.folder import read_folder
from beam_pipelines.sources.media_files import MEDIA_EXTENSIONS
from beam_pipelines.sources.nlvr import read_nlvr
from beam_pipelines.sources.table_columns import ColumnMapping
from mmstack import main
from tests.beam_pipelines.media.small_media import write_image
from tests.beam_pipelines.pipelines import memory_filesystem
from tests.beam_pipelines.sources.caption_writers import FORMATS, srt

CUES = [(0, 1000, "one"), (2000, 3000, "two")]


def write(folder: pathlib.Path, contents: dict[str, str | bytes]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def read(folder: pathlib.Path) -> tuple[dict[str, dict], dict[str, str], Account]:
    account = Account()
    found = list(read_folder(str(folder), account=account))
    items = {entry["id"]: entry for entry in found if isinstance(entry, dict)}
    rejects = {e[0]: str(e[1].code) for e in found if not isinstance(e, dict)}
    return items, rejects, account


def test_every_file_of_a_folder_is_counted(tmp_path):
    by_id = {
        "b": {"start": [0], "end": [1], "text": ["sentence"]},
        "c.wav": "whole",
        "gone": ["not there"],
    }
    write(
        tmp_path,
        {
            "a.mp4": b"x",
            "sub/b.MKV": b"x",
            "c.wav": b"x",
            "a.EN.SRT": srt(CUES),
            "a.mp4.de.forced.ass": FORMATS["ass"][1](CUES[:1], None),
            "a.notes.txt": "no language",
            "c_fr.txt": "bonjour",
            "c_id.txt": "7",
            "lonely.vtt": "WEBVTT\n",
            "captions.json": json.dumps(by_id),
            "other.json": json.dumps({"images": [], "annotations": []}),
            "table.csv": "file,caption\na.mp4,x\n",
            "README.md": "x",
            "LICENSE": "x",
            ".DS_Store": b"\x00\x01",
        },
    )
    write_image(tmp_path / "picture.png")
    (tmp_path / "picture.png").rename(tmp_path / "picture.dat")
    items, rejects, account = read(tmp_path)
    assert not rejects
    assert sorted(items) == ["a.mp4", "c.wav", "picture.dat", "sub/b.MKV"]
    captions = [(c["text"], c.get("language")) for c in items["a.mp4"]["captions"]]
    assert sorted(captions) == [("one", "de"), ("one", "en"), ("two", "en")]
    assert items["sub/b.MKV"]["captions"][0]["end_seconds"] == 1
    assert items["c.wav"]["captions"] == [
        {"text": "whole"},
        {"text": "bonjour", "language": "fr"},
    ]
    assert account.tallies == {
        "files found": 16,
        "media files": 4,
        "caption files": 4,
        "files left out": 8,
    }
    assert account.remarks == [
        "checked: files found = media files + caption files + files left out (16 = 4 + 4 + 8)"
    ]
    unused = [note for note in account.notes if note.code == NoteCode.CAPTIONS_WITHOUT_MEDIA]
    assert sorted(note.name for note in unused) == [
        *("a.notes.txt", "c_id.txt", "captions.json", "lonely.vtt", "other.json", "table.csv")
    ]
    details = {note.name: note.detail for note in unused}
    assert "gone" in details["captions.json"]
    assert "manifest coco" in details["other.json"] and "manifest csv" in details["table.csv"]
    assert account.count(NoteCode.FILE_NOT_READ) == 3
    assert account.count(NoteCode.ITEM_WITHOUT_CAPTIONS) == 1


def test_a_refused_caption_file_costs_the_item_only_where_nothing_else_describes_it(tmp_path):
    write(
        tmp_path,
        {
            "a.mp4": b"x",
            "a.en.srt": "just words",
            "a.de.srt": srt(CUES),
            "b.mp4": b"x",
            "b.srt": "just words",
            "c.mp4": b"x",
            "c.srt": srt(CUES[:1], 0),
        },
    )
    items, rejects, account = read(tmp_path)
    assert rejects == {"b.mp4": "bad_captions"}
    assert len(items["a.mp4"]["captions"]) == 2
    assert account.count(NoteCode.CAPTIONS_REFUSED) == 1
    assert items["c.mp4"]["captions"] == []
    assert (
        account.count(NoteCode.CUE_LEFT_OUT) == account.count(NoteCode.ITEM_WITHOUT_CAPTIONS) == 1
    )


def test_files_of_downloaders(tmp_path):
    information = {"id": "x", "title": "T", "description": "D", "categories": ["c"], "fps": None}
    shard = {"caption": "a ball", "key": "000", "clips": [[0.0, 2.0]], "similarity": "NaN"}
    write(
        tmp_path,
        {
            "T [x].mp4": b"x",
            "T [x].info.json": json.dumps(information),
            "T [x].en-orig.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
            "T [x].description": "D",
            "T [x].live_chat.json": "{}",
            "00000/000.mp4": b"x",
            "00000/000.txt": "a ball",
            "00000/000.json": json.dumps(shard),
        },
    )
    items, rejects, account = read(tmp_path)
    assert not rejects
    assert items["00000/000.mp4"]["captions"] == [{"text": "a ball"}]
    assert items["00000/000.mp4"]["metadata"]["clips"] == [[0.0, 2.0]]
    video = items["T [x].mp4"]
    assert [(c["text"], c["language"]) for c in video["captions"]] == [("hello", "en")]
    assert video["metadata"] == information
    assert account.count(NoteCode.FIELD_TO_METADATA) == 5 + 3
    assert account.count(NoteCode.CAPTION_REPEATED) == 1
    assert account.tallies["files left out"] == 2


def test_every_format_that_the_decoder_reads_is_found():
    known = []
    for name in container._DEMUXERS.split(","):
        try:
            extensions = av.ContainerFormat(name, "r").extensions
        except ValueError:
            continue  # one of several names of a format
        known.append(name)
        of_subtitles = {".mks"}
        assert {f".{each}" for each in extensions} - of_subtitles <= MEDIA_EXTENSIONS, name
    assert len(known) > 30, known


def test_the_command_prints_and_keeps_the_account(tmp_path, capsys):
    folder = tmp_path / "media"
    write(
        folder,
        {"a.mp4": b"x", "a.srt": srt(CUES, 1), "b.mp4": b"x", "b.txt": "да".encode("cp1251")},
    )
    write(folder, {"notes.md": "x"})
    output = tmp_path / "m.jsonl"
    arguments = ["manifest", "folder", f"--folder={folder}", f"--output={output}"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for line in ("files found     5", "files left out  1", "cue_left_out  1", "items rejected  1"):
        assert line in printed
    assert "a.srt: cue 2" in printed and "name it by --encoding" in printed
    notes = [
        json.loads(line) for line in (tmp_path / "m.jsonl.notes.jsonl").read_text().splitlines()
    ]
    assert collections.Counter(note["code"] for note in notes) == {
        "cue_left_out": 1,
        "file_not_read": 1,
    }
    assert main([*arguments, "--overwrite", "--encoding=cp1251"]) == 0
    assert "items rejected  0" in capsys.readouterr().out
    assert not (tmp_path / "m.jsonl.rejects.jsonl").exists()
    assert main([*arguments, "--overwrite", "--encoding=cp9"]) == 2
    assert "--encoding cp9: no such encoding" in capsys.readouterr().err


@pytest.mark.parametrize("strangers", [0, 2])
def test_what_is_told_of_pictures_that_are_not_listed_is_counted(tmp_path, strangers):
    told = [{"image_id": n, "caption": "x", "question": "?", "answer": "!"} for n in (1, 8, 9)]
    told = told[: 1 + strangers]
    write(tmp_path, {"1.jpg": b"x"})
    content = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": told}
    write(tmp_path, {"c.json": json.dumps(content), "q.json": json.dumps(told)})
    account = Account()
    details = read_details(questions=str(tmp_path / "q.json"))
    (item,) = read_coco(str(tmp_path / "c.json"), str(tmp_path), details, account)
    assert len(item["captions"]) == len(item["questions"]) == 1
    assert account.count(NoteCode.CAPTIONS_WITHOUT_MEDIA) == 2 * strangers
    example = {"identifier": "0-0", "image": "1.jpg", "sentence": "s", "label": "true"}
    example |= {f"more {n}": n for n in range(strangers)}
    write(tmp_path, {"n.jsonl": json.dumps(example)})
    assert (
        len(list(read_nlvr(str(tmp_path / "n.jsonl"), str(tmp_path), {"train": 1.0}, account))) == 1
    )
    assert account.count(NoteCode.FIELD_LEFT_OUT) == strangers


def test_names_of_any_bytes_are_accounted_for(tmp_path, capsys):
    folder = tmp_path / "media"
    write(folder, {"a.mp4": b"x"})
    for name in (b"\xff.md", b"\xfe.srt"):
        (pathlib.Path(folder) / name.decode(errors="surrogateescape")).write_bytes(b"x")
    (folder / "a.srt").write_text("just words")
    (folder / "a.txt").write_text("one")
    output = tmp_path / "m.jsonl"
    items, rejects, account = read(folder)
    assert (list(items), rejects) == (["a.mp4"], {})
    assert account.count(NoteCode.CAPTIONS_REFUSED) == 1
    assert main(["manifest", "folder", f"--folder={folder}", f"--output={output}"]) == 0
    assert "\\udcff.md" in capsys.readouterr().out


def test_a_remote_folder_and_table_are_read_alike(tmp_path):
    contents = {
        "a.mp4": b"x",
        "a.en.srt": srt(CUES).encode(),
        "ids.csv": b"video_id,start,end,text\na,0,1,one\ngone,0,1,x\n",
        "notes.md": b"",
    }
    for name, content in contents.items():
        memory_filesystem.OBJECTS[f"memory://remote/{name}"] = content
        (tmp_path / name).write_bytes(content)
    found = {}
    for base in ("memory://remote", str(tmp_path)):
        account = Account()
        row, (name, reject) = read_csv(f"{base}/ids.csv", ColumnMapping())
        assert (row["media"], name, reject.code) == ("a.mp4", "row 3", RejectCode.FILE_MISSING)
        found[base] = list(read_folder(base, account=account)), account.tallies
    assert found["memory://remote"] == found[str(tmp_path)]
    (item,), _ = found[str(tmp_path)]
    assert len(item["captions"]) == 2
