"""The dict of pictures with phrases and boxes: toy files of both kinds, against values by hand."""

import json
import pickle

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.phrases.box_dictionary import read_box_dictionary
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.sources.phrases.phrase_files import meanings, pictures, write_json

_SENTENCE = "Two men lift a hat ."
_ENTRY = {
    "size": (100, 200, 3),
    "queries": ["Two men", "a hat", "a cloud", "a cloud", "left man"],
    "captions": [_SENTENCE, " "],
    "annotations": [
        {
            "query": "Two men",
            "bbox": [[0, 0, 100, 50], [100, 50, 200, 100]],
            "bbox_norm": [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]],
            "category": {"people"},
            "idx": [0, 1],
            "image_size": (100, 200, 3),
            "source_sen": _SENTENCE,
        },
        {
            "query": "a hat",
            "bbox": [],
            "category": {"clothing", "bodyparts"},
            "idx": [3, 4],
            "source_sen": _SENTENCE,
        },
        {"query": "left  man", "bbox": [[-10, 0, 50, 50.0], [300, 0, 400, 9]], "idx": [0, 1]},
        {"query": "a hat", "bbox": [[0, 0, 2, 1]], "idx": [2, 3], "source_sen": _SENTENCE},
        {"query": " ", "bbox": [], "idx": []},
    ],
}
_MEANINGS = {
    ("Two men", _SENTENCE, 0): [("people", (0, 0, 0.5, 0.5)), ("people", (0.5, 0.5, 1, 1))],
    ("a hat", _SENTENCE, 3): [("bodyparts/clothing", None)],
    ("left man", "", -1): [("", (0, 0, 0.5, 0.25))],
    ("a hat", "", -1): [("", (0, 0, 0.01, 0.01))],
    ("a cloud", "", -1): [("", None)],
}


def _write(folder, entry=_ENTRY, name="a.pickle"):
    pictures(folder / "images", "12.jpg", "x/b.jpg")
    content = {12: entry, "b": _ENTRY, "gone": _ENTRY}
    if name.endswith("json"):
        return write_json(folder / name, json.loads(json.dumps(content, default=sorted)))
    (folder / name).write_bytes(pickle.dumps(content))
    return str(folder / name)


@pytest.mark.parametrize("name", ["a.pickle", "a.json"])
def test_queries_are_phrases_with_their_boxes(tmp_path, name):
    account = Account()
    path, images = _write(tmp_path, name=name), str(tmp_path / "images")
    item, other, gone = read_box_dictionary(path, images, "en", None, account)
    assert (item["id"], item["media"], other["media"]) == ("12", "12.jpg", "x/b.jpg")
    assert item["captions"] == [{"text": _SENTENCE, "language": "en"}]
    assert meanings(item) == _MEANINGS and "split" not in item
    assert gone[0] == "gone" and "no file in" in gone[1].detail
    assert {note.detail: note.count for note in account.notes} == {
        "blank queries": 2,
        "boxes outside of their picture": 2,
        "places of words that are not those of their phrase; it stands for itself": 2,
    }


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (3, "picture 12: expected an object, found 3"),
        ({**_ENTRY, "size": (0, 200, 3)}, "field size: expected 2 numbers above 0"),
        ({**_ENTRY, "captions": [5]}, "field captions.0.: expected text, found 5"),
        ({**_ENTRY, "annotations": [{"query": "a"}]}, "annotations.0., field bbox: missing"),
        (
            {**_ENTRY, "annotations": [{"query": "a", "bbox": [[1, 2, 3, float("nan")]]}]},
            "annotations.0., field bbox.0.: expected 4 numbers",
        ),
        (
            {**_ENTRY, "annotations": [{"query": "a", "bbox": [], "category": {1}}]},
            "field category: expected words, found {1}",
        ),
        (
            {
                **_ENTRY,
                "annotations": [{"query": "a", "bbox": [], "source_sen": "a", "idx": [0.5]}],
            },
            "field idx: expected whole numbers",
        ),
    ],
)
def test_other_forms_are_named(tmp_path, entry, words):
    path, images = _write(tmp_path, entry), str(tmp_path / "images")
    with pytest.raises(UserError, match=f"--annotations .*{words}"):
        list(read_box_dictionary(path, images, "en", None, Account()))


def test_the_command_reads_it_with_lists_of_splits(tmp_path, capsys):
    (tmp_path / "test.txt").write_text("12\n")
    output = tmp_path / "m.jsonl"
    flags = [f"--annotations={_write(tmp_path)}", f"--images={tmp_path}/images"]
    flags += [f"--output={output}", f"--splits={tmp_path}/test.txt", "--language=de"]
    assert main(["manifest", "phrase_boxes", *flags]) == 0
    (line,) = manifest.read(str(output))
    assert line.item["split"] == "test" and line.item["captions"][0]["language"] == "de"
    assert "pictures that no list of --splits names" in capsys.readouterr().out
