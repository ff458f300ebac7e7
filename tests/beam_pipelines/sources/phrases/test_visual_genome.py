"""Visual Genome's regions: which phrases are kept, and where their boxes lie."""

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.rejects import RejectCode
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.phrases.ascii_text import ascii_text
from beam_pipelines.sources.phrases.split_lists import SplitLists
from beam_pipelines.sources.phrases.visual_genome import read_visual_genome
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.sources.phrases.phrase_files import meanings, pictures, write_json


def _region(phrase, x=0, y=0, width=100, height=50):
    return {"phrase": phrase, "x": x, "y": y, "width": width, "height": height, "region_id": 1}


_SIZE = {"width": 200, "height": 100}
_REGIONS = [
    _region("a  dog’s café "),
    _region("a dog's cafe", 100, 50),
    _region("the tree", -20, 90, 60, 40),
    _region("one two three four five six seven eight nine", 50, 0),
    _region("one two three four five six seven eight nine ten"),
    _region("two\nlines"),
    _region("the 犬"),
    _region(" "),
    _region("far away", 300, 0),
]


def _files(folder):
    pictures(folder / "images", "VG_100K/1.jpg", "VG_100K_2/2.jpg")
    regions = [{"id": n, "regions": _REGIONS} for n in (1, 3)]
    regions += [{"id": 2, "regions": [_region("a\nb")]}, {"id": 4, "regions": []}]
    return (
        write_json(folder / "regions.json", regions),
        write_json(folder / "image_data.json", [{"image_id": n, **_SIZE} for n in (1, 2, 3)]),
        str(folder / "images"),
    )


def test_phrases_are_kept_by_their_length_and_signs_and_boxes_are_cut(tmp_path):
    account = Account()
    lists = SplitLists([write_json(tmp_path / "s.json", {"test": [1, 2], "train": ["3"]})], "--s")
    item, gone, bare = read_visual_genome(*_files(tmp_path), lists, account)
    assert (item["id"], item["media"], item["split"]) == ("1", "VG_100K/1.jpg", "test")
    assert meanings(item) == {
        ("a dog's cafe", "", -1): [("", (0, 0, 0.5, 0.5)), ("", (0.5, 0.5, 1, 1))],
        ("the tree", "", -1): [("", (0.9, 0, 1, 0.2))],
        ("one two three four five six seven eight nine", "", -1): [("", (0, 0.25, 0.5, 0.75))],
    }
    assert (gone[0], gone[1].code) == ("3", RejectCode.FILE_MISSING)
    assert (bare[0], bare[1].code) == ("2", RejectCode.BAD_CAPTIONS)
    assert {note.detail: note.count for note in account.notes} == {
        "blank phrases": 1,
        "phrases of more than 9 words": 1,
        "phrases of several lines": 2,
        "phrases with signs that have no plain form": 1,
        "pictures that no list of --splits names": 1,
        "regions outside of their picture": 1,
    }


def test_without_lists_all_pictures_are_read_and_name_no_split(tmp_path):
    item, *others = read_visual_genome(*_files(tmp_path), None, Account())
    assert "split" not in item and [name for name, _ in others] == ["3", "2", "4"]
    (tmp_path / "images" / "4.jpg").write_bytes(b"x")
    last = list(read_visual_genome(*_files(tmp_path), None, Account()))[-1]
    assert last[1].code == RejectCode.BAD_METADATA and "does not list 4" in last[1].detail


def test_the_command_reads_lists_of_splits(tmp_path):
    regions, sizes, images = _files(tmp_path)
    (tmp_path / "vg_val.txt").write_text("1\n")
    flags = [f"--regions={regions}", f"--image_data={sizes}", f"--images={images}"]
    flags += [f"--output={tmp_path}/m.jsonl", f"--splits={tmp_path}/vg_val.txt"]
    assert main(["manifest", "visual_genome", *flags]) == 0
    (line,) = manifest.read(f"{tmp_path}/m.jsonl")
    assert line.item["split"] == "val" and len(line.item["objects"]) == 4


def test_wrong_fields_are_named(tmp_path):
    regions, sizes, images = _files(tmp_path)
    wrong = tmp_path / "wrong.json"
    for content, words in (
        ({}, "it holds no list with an entry for each picture"),
        ([[]], "entry 0: expected an object, found .."),
        ([{"id": "1"}], "entry 0, field id: expected a whole number, found '1'"),
        ([{"id": 1, "regions": 3}], "entry 0, field regions: expected a list, found 3"),
        ([{"id": 1, "regions": [_region(5)]}], "regions.0., field phrase: expected text, found 5"),
        ([{"id": 1, "regions": [_region("a", x="0")]}], "field x: expected a number, found '0'"),
    ):
        with pytest.raises(UserError, match=f"--regions .*{words}"):
            list(read_visual_genome(write_json(wrong, content), sizes, images, None, Account()))
    content = [{"image_id": 1, "width": 0, "height": 5}]
    with pytest.raises(UserError, match="entry 0, field width: expected a number above 0, found 0"):
        list(read_visual_genome(regions, write_json(wrong, content), images, None, Account()))


def test_plain_signs():
    assert ascii_text("“naïve” – d’Orsay…") == '"naive" - d\'Orsay...'
    assert ascii_text("straße") == "strasse"
    assert ascii_text("日") is None


def test_lists_of_splits(tmp_path):
    paths = {"vg_train.txt": "1\n2\n", "validation.txt": " 3 \n\n", "set-test.txt": "4"}
    for name, text in paths.items():
        (tmp_path / name).write_text(text)
    found = SplitLists([str(tmp_path / name) for name in paths], "--s")
    assert found.names == {"1": "train", "2": "train", "3": "val", "4": "test"}
    assert (found.split_of("3"), found.split_of("5")) == ("val", None)
    (tmp_path / "ids.txt").write_text("1")
    with pytest.raises(UserError, match="says its split by one of the words"):
        SplitLists([str(tmp_path / "ids.txt")], "--s")
    with pytest.raises(UserError, match="field dev: expected lists of ids"):
        SplitLists([write_json(tmp_path / "a.json", {"dev": [1]})], "--s")
    with pytest.raises(UserError, match="--s .*none.txt cannot be read"):
        SplitLists([str(tmp_path / "none.txt")], "--s")
