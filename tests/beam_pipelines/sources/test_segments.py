"""Published tables whose unit is a segment of a file come in as they are."""

import json
import pathlib

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.items.schema import check_item
from beam_pipelines.rejects import RejectCode
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.csv_table import read_csv
from beam_pipelines.sources.table_columns import ColumnMapping
from mm_models.errors import UserError
from mmstack import main

KINETICS = """label,youtube_id,time_start,time_end,split
riding a bike,abc-_def123,10,20,train
"testing, food",xyz45678901,3,13,validate
riding a bike,gone1234567,0,10,train
riding a bike,cut45678901,4,14,test
"""
AUDIOSET = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=2, num_segs=2, num_unique_labels=4, num_positive_labels=4
# YTID, start_seconds, end_seconds, positive_labels
--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"
-0049eXE1Zc, 1.000, 11.000, "/m/068hy"
"""
HOWTO_COLUMNS = {
    "abc-_def123": {"start": [0.5, 3.0], "end": [2.5, 4.5], "text": ["cut it", "then  fry"]},
    "gone1234567": {"start": [1.0], "end": [2.0], "text": ["not there"]},
}
DENSE = {
    "v_abc-_def123": {
        "duration": 9.0,
        "timestamps": [[0.5, 2.5], [3.0, 4.5]],
        "sentences": ["cut it", "then fry"],
    }
}


def read(folder: pathlib.Path, name: str, content: str, media: list[str], **options):
    (folder / name).write_text(content)
    for file in media:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    found = list(read_csv(str(folder / name), ColumnMapping(), **options))
    items = [entry for entry in found if isinstance(entry, dict)]
    for item in items:
        check_item(item)
    return items, [entry for entry in found if not isinstance(entry, dict)]


def spans(items: list[dict]) -> list[tuple]:
    return [(i["media"], i.get("start_seconds"), i.get("end_seconds")) for i in items]


def test_kinetics(tmp_path):
    media = ["abc-_def123.mp4", "food/xyz45678901.webm", "cut45678901_000004_000014.mp4"]
    items, rejects = read(tmp_path, "kinetics.csv", KINETICS, media)
    assert spans(items) == [
        ("abc-_def123.mp4", 10.0, 20.0),
        ("food/xyz45678901.webm", 3.0, 13.0),
        ("cut45678901_000004_000014.mp4", None, None),  # the file is the segment
    ]
    assert [item["split"] for item in items] == ["train", "val", "test"]
    names = [[label["text"] for label in item["labels"]] for item in items]
    assert names == [["riding a bike"], ["testing, food"], ["riding a bike"]]
    ((row, reject),) = rejects
    assert (row, reject.code) == ("row 4", RejectCode.FILE_MISSING)


def test_audioset(tmp_path):
    media = ["Y--PJHxphWEs.wav", "audio/-0049eXE1Zc_1000_11000.flac"]
    items, rejects = read(tmp_path, "eval_segments.csv", AUDIOSET, media)
    assert not rejects
    assert spans(items) == [
        ("Y--PJHxphWEs.wav", 30.0, 40.0),
        ("audio/-0049eXE1Zc_1000_11000.flac", None, None),
    ]
    labels = [[(label["index"], label["text"]) for label in item["labels"]] for item in items]
    assert labels == [[(1, "/m/09x0r"), (2, "/t/dd00088")], [(0, "/m/068hy")]]


@pytest.mark.parametrize(
    ("name", "content", "num_rejects"),
    [
        ("caption.json", json.dumps(HOWTO_COLUMNS), 1),
        ("train.json", json.dumps(DENSE), 0),
        (
            "captions.csv",
            "video_id,start,end,text\nabc-_def123,0.5,2.5,cut it\nabc-_def123,3,4.5,then fry\n",
            0,
        ),
        (
            "captions.tsv",
            "video_id\tstart\tend\ttext\nabc-_def123\t0:00.5\t0:02.5\tcut it\n"
            "abc-_def123\t3\t00:00:04,5\tthen fry\n",
            0,
        ),
        (
            "lines.jsonl",
            '{"file": "v_abc-_def123.mp4", "start": 0.5, "end": 2.5, "caption": "cut it"}\n'
            '{"file": "v_abc-_def123.mp4", "segment": [3.0, 4.5], "caption": "then fry"}\n',
            0,
        ),
        (
            "activity_net.json",
            json.dumps(
                {
                    "database": {
                        "abc-_def123": {
                            "subset": "training",
                            "annotations": [
                                {"segment": [0.5, 2.5], "text": "cut it"},
                                {"segment": [3.0, 4.5], "text": "then fry"},
                            ],
                        }
                    }
                }
            ),
            0,
        ),
    ],
)
def test_captions_by_video(tmp_path, name, content, num_rejects):
    items, rejects = read(tmp_path, name, content, ["v_abc-_def123.mp4"])
    assert len(rejects) == num_rejects
    assert spans(items) == [("v_abc-_def123.mp4", 0.5, 2.5), ("v_abc-_def123.mp4", 3.0, 4.5)]
    assert [item["captions"] for item in items] == [
        [{"text": "cut it", "start_seconds": 0.5, "end_seconds": 2.5}],
        [{"text": "then fry", "start_seconds": 3.0, "end_seconds": 4.5}],
    ]
    assert len({item["id"] for item in items}) == 2


def test_segments_that_cannot_be_are_rejects(tmp_path):
    cells = ["0.2,0.1", "x,1", "1,", "-1,2", "nan,2", ",", "1,inf", "0:01,0:02"]
    rows = "".join(f"a.mp4,{pair}\n" for pair in cells)
    items, rejects = read(tmp_path, "t.csv", "path,start,end\n" + rows, ["a.mp4"])
    assert spans(items) == [("a.mp4", None, None), ("a.mp4", 1.0, 2.0)]
    assert {reject.code for _, reject in rejects} == {RejectCode.BAD_METADATA}
    assert [row for row, _ in rejects] == [f"row {n}" for n in (2, 3, 4, 5, 6, 8)]


def test_columns_are_found_named_and_accounted_for(tmp_path):
    account = Account()
    text = ",path,kind,Start,End,note,nothing\n0,a.mp4,dog,0,1,loud,\n1,a.mp4,cat,1,2,,,more\n"
    items, _ = read(tmp_path, "t.csv", text, ["a.mp4"], account=account)
    assert items[0]["metadata"] == {"kind": "dog", "note": "loud"}
    assert items[1]["metadata"] == {"kind": "cat", "cells beyond the header": '["more"]'}
    kept = {n.name: n.count for n in account.notes if n.code == NoteCode.COLUMN_TO_METADATA}
    assert kept == {"column kind": 2, "column note": 1, "column cells beyond the header": 1}
    dropped = {n.name for n in account.notes if n.code == NoteCode.FIELD_LEFT_OUT}
    assert dropped == {"column 1", "column nothing"}
    assert account.remarks == ["columns: media from path; segment from Start to End"]
    text = "file,caption,caption_de,caption_id\na.mp4,one,eins,7\n"
    (item,), _ = read(tmp_path, "t.csv", text, ["a.mp4"])
    assert item["captions"] == [{"text": "one"}, {"text": "eins", "language": "de"}]
    assert item["metadata"] == {"caption_id": "7"}
    for header, message in (
        ("x,y", "no column is known to hold the media"),
        ("file,a,a", "several columns 'a'"),
    ):
        with pytest.raises(UserError, match=message):
            read(tmp_path, "t.csv", f"{header}\n1,2\n", [])


def test_absolute_paths_are_right_at_every_door(tmp_path, capsys):
    media = tmp_path / "elsewhere" / "a.png"
    media.parent.mkdir()
    media.write_bytes(b"x")
    work = tmp_path / "work"
    work.mkdir()
    coco = {
        "images": [{"id": 1, "file_name": str(media)}],
        "annotations": [{"image_id": 1, "caption": "a"}],
    }
    (work / "coco.json").write_text(json.dumps(coco))
    example = {"identifier": "0-0", "image": str(media), "sentence": "a", "label": "true"}
    (work / "nlvr.jsonl").write_text(json.dumps(example))
    (work / "t.csv").write_text(f"file,caption\n{media},a\n")
    doors = {
        "csv": [f"--table={work}/t.csv"],
        "coco": [f"--captions={work}/coco.json", f"--images={work}"],
        "nlvr": [f"--examples={work}/nlvr.jsonl", f"--images={work}"],
    }
    for door, options in doors.items():
        assert main(["manifest", door, *options, f"--output={work}/m-{door}.jsonl"]) == 0
        (line,) = manifest.read(str(work / f"m-{door}.jsonl"))
        assert line.item["media"] == str(media)
        assert main(["manifest", "check", f"--manifest={work}/m-{door}.jsonl"]) == 0
    # And what leaves its folder by a relative path is refused at every door.
    (work / "t.csv").write_text("file,caption\n../elsewhere/a.png,a\n")
    assert main(["manifest", "csv", f"--table={work}/t.csv", f"--output={work}/m.jsonl"]) == 2
    assert "leaves the folder" in capsys.readouterr().err
    (work / "m.jsonl").write_text('{"id": "a", "media": "../elsewhere/a.png"}\n')
    assert main(["manifest", "check", f"--manifest={work}/m.jsonl"]) == 2
    assert "line 1, field media: '../elsewhere/a.png' leaves" in capsys.readouterr().err
