"""Annotation files of videos in segments: one item a segment, which knows its video and place."""

import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.items import manifest
from beam_pipelines.items.manifest import stable_hash
from beam_pipelines.record import contract, reading
from beam_pipelines.sources.segments import rounding
from beam_pipelines.sources.segments.split_ids import SplitIds
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.media.small_media import TINY, write_clip
from tests.beam_pipelines.sources.segments.annotation_files import (
    CAPTIONED,
    media,
    of_videos,
    write,
)

YOUCOOK = {
    "database": {
        "GLd3aX16zBg": {
            "duration": 241.62,
            "subset": "training",
            "recipe_type": "113",
            "annotations": [
                {"segment": [90, 102], "id": 0, "sentence": " spread  margarine on bread "},
                {"segment": [114, 127], "id": 1, "sentence": "place cheese on it"},
                {"segment": [130, 130], "id": 2, "sentence": "wait"},
                {"segment": [400, 410], "id": 3, "sentence": "serve"},
                {"segment": [1, "2"], "id": 4, "sentence": "cut"},
                {"segment": [1, 2], "id": 5, "sentence": " "},
                {"segment": [1, 2], "id": 6, "sentence": ["cut"]},
            ],
        },
        "gone1234567": {
            "duration": 9,
            "subset": "validation",
            "annotations": [{"segment": [0, 4], "id": 0, "sentence": "stir"}],
        },
        "odd": {"subset": "holdout", "annotations": []},
        "empty": {"subset": "testing"},
    }
}


def made(folder: pathlib.Path, *arguments: str) -> tuple[list[dict], dict[str, str], str]:
    """Items, reject codes by name, and where they lie, of the command."""
    path = folder / f"manifest-{len(list(folder.iterdir()))}.jsonl"
    assert main(["manifest", "segments", f"--output={path}", *arguments]) == 0
    rejects = pathlib.Path(f"{path}.rejects.jsonl")
    lines = rejects.read_text().splitlines() if rejects.exists() else []
    codes = {line["id"]: line["code"] for line in map(json.loads, lines)}
    return [line.item for line in manifest.read(str(path))], codes, str(path)


def spans(items: list[dict]) -> list[tuple]:
    return [(item["id"], item.get("start_seconds"), item.get("end_seconds")) for item in items]


def test_youcookii(tmp_path, capsys):
    arguments = [
        "--layout=youcookii",
        f"--annotations={write(tmp_path / 'a.json', YOUCOOK)}",
        f"--media_folder={media(tmp_path / 'raw', 'training/113/GLd3aX16zBg.mp4')}",
    ]
    items, rejects, _ = made(tmp_path, *arguments)
    times = {"start_seconds": 90.0, "end_seconds": 102.0}
    assert items[0] == {
        "id": "GLd3aX16zBg#0",
        "media": "raw/training/113/GLd3aX16zBg.mp4",
        "split": "train",
        **times,
        "group": "GLd3aX16zBg",
        "group_index": 0,
        "captions": [{"text": "spread margarine on bread", "language": "en", **times}],
        "metadata": {"recipe_type": "113", "id": 0},
    }
    assert spans(items)[1:] == [("GLd3aX16zBg#1", 114.0, 127.0)]
    assert rejects == {
        "GLd3aX16zBg#2": "bad_metadata",
        "GLd3aX16zBg#3": "too_short",
        "GLd3aX16zBg#4": "bad_metadata",
        "GLd3aX16zBg#5": "bad_captions",
        "GLd3aX16zBg#6": "bad_captions",
        "gone1234567#0": "file_missing",
        "odd": "bad_metadata",
    }
    said = capsys.readouterr().out
    for count in ("videos found    4", "segments found  8", "items found     9", "written   2"):
        assert count in said
    assert "they have no segments" in said and "recipe_type: kept as metadata" in said


def test_activitynet_times_are_exact_or_those_of_published_experiments(tmp_path):
    arguments = [
        "--layout=activitynet",
        f"--annotations={write(tmp_path / 'train.json', CAPTIONED)}",
        f"--media_folder={media(tmp_path / 'videos', 'one.mkv')}",
    ]
    items, rejects, _ = made(tmp_path, *arguments)
    assert spans(items) == [("v_one#0", 0.4, 3.2), ("v_one#2", 19.6, 21.3)]
    assert rejects == {"v_one#1": "bad_metadata", "v_one#3": "bad_metadata"}
    assert {(item["split"], item["group"]) for item in items} == {("train", "v_one")}
    assert [item["group_index"] for item in items] == [0, 2]
    items, rejects, _ = made(tmp_path, *arguments, "--rounding=paper")
    # max(floor(start) - 1, 0) to ceil(end), left out where that is empty.
    expected = [("v_one#0", 0.0, 4.0), ("v_one#1", 4.0, 5.0), ("v_one#2", 18.0, 22.0)]
    assert spans(items) == expected and rejects == {"v_one#3": "bad_metadata"}
    assert items[1]["captions"][0]["start_seconds"] == 4.0


@pytest.mark.parametrize(
    ("rule", "times", "expected"),
    [
        (rounding.exact, (0.0, 0.5), (0.0, 0.5)),
        (rounding.exact, (-0.1, 0.5), None),
        (rounding.exact, (2.0, 2.0), None),
        (rounding.whole_seconds, (3.9, 6.2), (3.0, 6.0)),
        (rounding.whole_seconds, (3.1, 3.9), None),
        (rounding.second_earlier, (0.3, 0.6), (0.0, 1.0)),
        (rounding.second_earlier, (3.0, 4.0), (2.0, 4.0)),
        (rounding.second_earlier, (5.0, 4.0), None),
    ],
)
def test_rounding_by_hand(rule, times, expected):
    assert rule(*times) == expected


def test_validation_videos_are_halved_with_both_sets_of_references(tmp_path):
    folder = media(tmp_path / "videos", *(f"v_{number}.mp4" for number in range(60)))
    references = [
        write(tmp_path / f"val_{k}.json", of_videos(60, f"Annotator {k}.")) for k in (1, 2)
    ]
    plain = ["--layout=activitynet", f"--media_folder={folder}", "--reference_sets", *references]
    items, rejects, _ = made(tmp_path, *plain)
    assert not rejects and len(items) == 240
    assert (items[0]["id"], items[0]["group"]) == ("v_0@1#0", "v_0@1")
    styles = {(item["group"].split("@")[1], item["captions"][0]["style"]) for item in items}
    assert styles == {("1", "reference_1"), ("2", "reference_2")}
    halves = {(item["group"].split("@")[0], item["split"]) for item in items}
    expected = {
        (f"v_{n}", "val" if stable_hash(f"v_{n}", "split") < 2**63 else "test") for n in range(60)
    }
    assert halves == expected and 20 < sum(half == "val" for _, half in halves) < 40

    ids = write(tmp_path / "ids.json", {"validation": ["v_3"], "testing": ["v_4"], "train": []})
    items, rejects, _ = made(tmp_path, *plain, f"--split_ids={ids}")
    assert {(item["group"], item["split"]) for item in items} == {
        *(("v_3@1", "val"), ("v_3@2", "val"), ("v_4@1", "test"), ("v_4@2", "test"))
    }
    assert len(rejects) == 58 and rejects["v_0"] == "bad_metadata"
    # One annotator alone needs no number.
    ids = write(tmp_path / "ids.txt", "v_5\nv_6\n")
    items, _, _ = made(tmp_path, *plain[:3], references[0], f"--split_ids={ids}")
    assert {item["group"] for item in items if item["split"] == "test"} == {"v_5", "v_6"}
    assert len(items) == 120 and "style" not in items[0]["captions"][0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"validation": ["a"], "testing": ["a"]}, "a in both val and test"),
        ({"held out": ["a"]}, "'held out' is not training, validation or testing"),
        ({"testing": [3]}, "'testing' is not"),
        ("[", "cannot be read"),
        ("", "names no videos"),
    ],
)
def test_wrong_lists_of_ids_are_refused(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        SplitIds(write(tmp_path / "ids", content))


def test_msrvtt_videos_have_all_their_sentences(tmp_path):
    about = {"url": "https://a", "start time": 137.7, "end time": 149.4, "category": 9}
    content = {
        "info": {},
        "videos": [
            {"video_id": "video0", "split": "train", "id": 0, **about},
            {"video_id": "video7", "split": "validate", "id": 7},
            {"video_id": "video9", "split": "test", "id": 9},
        ],
        "sentences": [
            {"caption": "a car is shown", "video_id": "video0", "sen_id": 0},
            {"caption": "a cat", "video_id": "video7", "sen_id": 1},
            {"caption": "a man drives", "video_id": "video0", "sen_id": 2},
            {"caption": " ", "video_id": "video0", "sen_id": 3},
            {"caption": "nobody", "video_id": "video8", "sen_id": 4},
        ],
    }
    path = write(tmp_path / "videodatainfo.json", content)
    folder = media(tmp_path / "videos", "video0.mp4", "video7.mp4", "video9.mp4")
    plain = ["--layout=msrvtt", f"--media_folder={folder}"]
    items, rejects, output = made(tmp_path, *plain, f"--annotations={path}")
    assert rejects == {"video9#0": "bad_captions"}
    first, second = items
    assert first["captions"] == [
        {"text": "a car is shown", "language": "en"},
        {"text": "a man drives", "language": "en"},
    ]
    assert "start_seconds" not in first and first["metadata"] == {"id": 0, **about}
    assert (second["id"], second["split"], second["group"]) == ("video7#0", "val", "video7")
    notes = map(json.loads, pathlib.Path(f"{output}.notes.jsonl").read_text().splitlines())
    counts = {note["code"]: note["count"] for note in notes if note["code"] != "field_to_metadata"}
    assert counts == {"captions_without_media": 1, "cue_empty": 1}
    for spoilt in (
        {"videos": 3},
        {"videos": [{"split": "train"}]},
        {"sentences": [{"video_id": "video0", "caption": 4}]},
    ):
        bad = write(tmp_path / "bad.json", content | spoilt)
        assert (
            main(["manifest", "segments", *plain, f"--annotations={bad}", f"--output={tmp_path}/x"])
            == 2
        )


def test_tables_with_columns_of_lists(tmp_path, capsys):
    folder = media(tmp_path / "videos", "-_abc.mp4", "two.mp4")
    table = (
        "video_id,duration,caption,start,end,features,note\n"
        '-_abc,9000000,"[\'It\\\'s cut\', ""then ""]","[0, 1500000]","[1500000, 9100000]",'
        '"[0.5]",good\n'
        'two,9000000,"[""a""]","[0, 1]","[2]",,\n'
        "gone,,[],[],[],,\n"
        ',,"[""a""]",[0],[1],,\n'
    )
    plain = ["--layout=columns", f"--media_folder={folder}", "--split=val"]
    path = write(tmp_path / "train.csv", table)
    items, rejects, _ = made(tmp_path, *plain, f"--annotations={path}", "--time_unit=microseconds")
    assert spans(items) == [("-_abc#0", 0.0, 1.5), ("-_abc#1", 1.5, pytest.approx(9.1))]
    assert [item["captions"][0]["text"] for item in items] == ["It's cut", "then"]
    assert all(item["split"] == "val" for item in items) and items[0]["metadata"] == {
        "note": "good"
    }
    assert rejects == {"two": "bad_metadata", "row 5": "bad_metadata"}
    assert "features: it is neither text nor a number" in capsys.readouterr().out
    lines = [
        {"vid": "two", "text": ["a"], "from": [0.5], "to": [1], "length": 4.0},
        {"vid": "two", "text": ["b"], "from": [4.5], "to": [5], "length": 4.0},
    ]
    path = write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, lines)))
    named = ["--video_column=vid", "--caption_column=text", "--start_column=from"]
    named += ["--end_column=to", "--duration_column=length"]
    items, rejects, _ = made(tmp_path, *plain[:2], f"--annotations={path}", *named)
    assert spans(items) == [("two#0", 0.5, 1.0)] and rejects == {"two#0": "too_short"}
    assert "split" not in items[0]
    with pytest.raises(SystemExit):
        made(tmp_path, *plain, f"--annotations={path}", "--time_unit=hours")
    arguments = [*plain, f"--annotations={path}", f"--output={tmp_path}/x.jsonl"]
    assert main(["manifest", "segments", *arguments]) == 2
    assert "no column 'video_id'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--layout=msrvtt", "--rounding=paper"], "--rounding says nothing"),
        (["--layout=columns", "--rounding=paper"], "--rounding says nothing"),
        (["--layout=youcookii", "--split=val"], "--split says nothing"),
        (["--layout=youcookii", "--reference_sets", "b"], "--reference_sets says nothing"),
        (["--layout=activitynet", "--split_ids=b"], "--split_ids divides"),
        (["--layout=youcookii"], "cannot be read"),
        (["--layout=columns"], "check --annotations"),
    ],
)
def test_flags_that_a_layout_would_ignore_are_refused(tmp_path, capsys, flags, words):
    plain = ["--annotations=a.json", f"--media_folder={tmp_path}", f"--output={tmp_path}/x.jsonl"]
    assert main(["manifest", "segments", *plain, *flags]) == 2
    assert words in capsys.readouterr().err
    assert main(["manifest", "segments", *plain[1:], "--layout=msrvtt"]) == 2
    assert "--annotations names no file" in capsys.readouterr().err


def test_segments_become_records_that_know_their_video_and_place(tmp_path):
    write_clip(tmp_path / "videos" / "a.mp4", seconds=3.0)
    content = {
        "a": {
            "duration": 3.0,
            "timestamps": [[2.0, 3.0], [0.0, 1.0]],
            "sentences": ["It is bright.", "It is dark."],
        }
    }
    *_, path = made(
        tmp_path,
        "--layout=activitynet",
        f"--annotations={write(tmp_path / 'train.json', content)}",
        f"--media_folder={tmp_path}/videos",
    )
    records = tmp_path / "records"
    assert main(["preprocess", f"--manifest={path}", f"--output={records}", *TINY]) == 0
    by_place = {}
    for context, lists in reading.iterate(str(records), "train"):
        assert context[contract.CLIP_GROUP] == [b"a"]
        by_place[context[contract.CLIP_GROUP_INDEX][0]] = context, lists
    assert sorted(by_place) == [0, 1]
    texts = [by_place[place][0][contract.CAPTION] for place in (0, 1)]
    assert texts == [[b"It is bright."], [b"It is dark."]]
    grey = [
        np.mean(Image.open(io.BytesIO(by_place[place][1][contract.FRAMES][0][0])).convert("L"))
        for place in (0, 1)
    ]
    # Brightness rises by 20 a frame of 0.1 s and wraps at 256.
    np.testing.assert_allclose(grey, [400 - 256, 0], atol=8)
