"""Inputs that came out wrong once, each as the README of their folder says is right."""

import json
import pathlib
import shutil

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.record import contract, reading
from mmstack import main
from tests.beam_pipelines.media.small_media import TINY

FAULTS = pathlib.Path(__file__).parents[4] / "shared" / "data" / "faults"
pytestmark = pytest.mark.skipif(not FAULTS.exists(), reason="no ../shared/data/faults")


def items_of(folder: pathlib.Path, source: str, *options: str) -> tuple[list[dict], dict]:
    """Items of a manifest command, and the counts of its notes."""
    output = folder / f"{len(list(folder.iterdir()))}.jsonl"
    assert main(["manifest", source, *options, f"--output={output}"]) == 0
    notes = pathlib.Path(f"{output}.notes.jsonl")
    counts: dict[str, int] = {}
    for line in notes.read_text().splitlines() if notes.exists() else ():
        note = json.loads(line)
        counts[note["code"]] = counts.get(note["code"], 0) + note["count"]
    return [line.item for line in manifest.read(str(output))], counts


def captions_of(folder: pathlib.Path, name: str) -> tuple[dict[str, list[tuple]], dict]:
    """(text, start, end) of the captions of each item of a folder, and the counts of notes."""
    items, counts = items_of(folder, "folder", f"--folder={FAULTS / name}")
    found = {
        item["id"]: [
            (c["text"], c.get("start_seconds"), c.get("end_seconds"))
            for c in item.get("captions", ())
        ]
        for item in items
    }
    return found, counts


def records(path: str, output: pathlib.Path, *options: str) -> list[tuple[dict, dict]]:
    assert main(["preprocess", f"--manifest={path}", f"--output={output}", *TINY, *options]) == 0
    splits = json.loads((output / contract.DATASET_INFO).read_text())["splits"]
    return [record for split in splits for record in reading.iterate(str(output), split)]


def test_caption_files(tmp_path):
    found, counts = captions_of(tmp_path, "rolling_captions")
    assert found == {"talk.mp4": [("hello there we", 0.0, 0.9), ("cook some rice", 0.91, 1.9)]}
    assert counts["caption_repeated"] == 3
    found, counts = captions_of(tmp_path, "one_bad_cue")
    assert [text for text, *_ in found["reversed.mp4"]] == ["ok", "ok too"]
    assert found["nofraction.mp4"] == [("no fraction", 0.0, 1.0)]
    assert [text for text, *_ in found["blank.mp4"]] == ["first line after an empty line", "next"]
    assert (len(found), counts["cue_left_out"]) == (4, 1)
    found, counts = captions_of(tmp_path, "encodings")
    assert found["cyrillic.mp4"][0][0] == "кошка прыгает"
    assert found["japanese.mp4"][0][0] == "猫が跳ぶ"
    assert counts == {"encoding_detected": 2}


def test_sidecars_and_their_layouts(tmp_path):
    (item,), _ = items_of(tmp_path, "folder", f"--folder={FAULTS}/language_in_name")
    texts = {caption["language"]: caption["text"] for caption in item["captions"]}
    assert texts == {"en": "hello world", "de": "hallo Welt"}
    (item,), _ = items_of(tmp_path, "folder", f"--folder={FAULTS}/transcript_form")
    sentence, *words = item["captions"]
    assert (sentence["text"], sentence["start_seconds"]) == ("SET BLUE BY FOUR", 0.1)
    assert [(w["text"], w["style"], w["end_seconds"]) for w in words] == [
        *(("SET", "word", 0.4), ("BLUE", "word", 0.7), ("BY", "word", 0.9), ("FOUR", "word", 1.4))
    ]
    (item,), counts = items_of(tmp_path, "folder", f"--folder={FAULTS}/downloader_triple")
    assert item["captions"] == [{"text": "a ball rolls to the right"}]
    assert set(item["metadata"]) == {"url", "key", "status", "error_message"}
    assert counts == {"caption_repeated": 1, "field_to_metadata": 4}


def test_segments_are_items(tmp_path):
    items, _ = items_of(tmp_path, "csv", f"--table={FAULTS}/segments/table.csv")
    spans = [(item["start_seconds"], item["end_seconds"]) for item in items]
    assert spans == [(0.2, 0.8), (1.0, 1.8)]
    assert [item["labels"][0]["text"] for item in items] == ["running", "jumping"]
    made = {
        context[contract.LABEL_TEXT][0]: (context, lists)
        for context, lists in records(str(tmp_path / "0.jsonl"), tmp_path / "records")
    }
    for label, start, end in ((b"running", 200_000, 800_000), (b"jumping", 1_000_000, 1_800_000)):
        context, lists = made[label]
        assert (context[contract.CLIP_START], context[contract.CLIP_END]) == ([start], [end])
        times = [step[0] for step in lists[contract.FRAME_TIMESTAMPS]]
        assert times == list(range(start, end, 200_000))
        assert context[contract.NUM_SAMPLES] == [(end - start) * 8 // 1000]


def test_windows_around_captions(tmp_path):
    shutil.copytree(FAULTS / "caption_windows", tmp_path / "in")
    path = str(tmp_path / "in" / "manifest.jsonl")
    options = ("--windows=captions", "--window_seconds=3.2")
    ((context, _),) = records(path, tmp_path / "one", *options, "--nearest_captions=1")
    assert context[contract.CAPTION] == [b"one", b"two", b"three"]
    short = ("--windows=captions", "--window_seconds=0.5", "--nearest_captions=1")
    found = records(path, tmp_path / "short", *short)
    assert sorted(context[contract.CAPTION][0] for context, _ in found) == [
        *(b"one", b"three", b"two")
    ]
