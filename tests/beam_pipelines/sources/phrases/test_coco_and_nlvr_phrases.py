"""Phrases of COCO captions and of NLVR's drawn scenes: toy files, and the real sets."""

import collections
import json
import pathlib

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.rejects import RejectCode
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.coco import read_coco
from beam_pipelines.sources.coco_details import read_details
from beam_pipelines.sources.nlvr import read_nlvr
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.sources.phrases.phrase_files import meanings, pictures, write_json

DATA = pathlib.Path(__file__).parents[5] / "shared" / "data"

_CAPTION = "A dog and\n its dogs' bone."
_PLAIN = "A dog and its dogs' bone."
_PHRASES = {
    "note": "made by hand",
    "data": [
        {
            "image_id": 7,
            "caption": _CAPTION,
            "phrases": [
                {
                    "start": 0,
                    "end": 5,
                    "text": "A dog",
                    "category": "dog",
                    "boxes": [[20.1, 10, 60, 60], [100, 0, 200, 50]],
                },
                {"start": 11, "end": 19, "text": "its dogs", "category": "cat", "boxes": []},
                {
                    "start": 21,
                    "end": 25,
                    "text": "bone",
                    "category": "bone",
                    "boxes": [[0, 0, 20, 10], [300, 0, 400, 10]],
                },
            ],
        },
        {
            "image_id": 8,
            "caption": "A dog",
            "phrases": [
                {"start": 0, "end": 5, "text": "A dog", "category": "dog", "boxes": []},
            ],
        },
    ],
}
_INSTANCES = {
    "images": [{"id": 7, "height": 100, "width": 200}],
    "categories": [{"id": 90, "name": "dog"}, {"id": 17, "name": "cat"}],
    "annotations": [
        {"image_id": 7, "category_id": 17, "bbox": [20, 10, 40, 50]},
        {"image_id": 7, "category_id": 90, "bbox": [20.2, 10.1, 40, 50]},
        {"image_id": 7, "category_id": 90, "bbox": [20, 10, 40, 50]},
    ],
}


def _coco(folder, phrases=_PHRASES, **changes):
    """(item, account) of the picture, read with `phrases`."""
    image = {"id": 7, "file_name": "7.jpg", "height": 100, "width": 200} | changes
    captions = {"images": [image], "annotations": [{"image_id": 7, "caption": _CAPTION}]}
    path = write_json(folder / "captions.json", captions)
    instances = write_json(folder / "instances.json", _INSTANCES)
    told = write_json(folder / "phrases.json", phrases)
    account = Account()
    details = read_details(instances, phrases=told, captions=path)
    return list(read_coco(path, pictures(folder, "7.jpg"), details, account))[0], account


def test_coco_phrases_mean_the_objects_that_have_their_boxes(tmp_path):
    item, account = _coco(tmp_path)
    assert meanings(item) == {
        ("A dog", _PLAIN, 0): [("dog", (0.1, 0.1, 0.6, 0.3)), ("dog", (0.0, 0.5, 0.5, 1.0))],
        ("its dogs", _PLAIN, 3): [("cat", None)],
        ("bone", _PLAIN, 5): [("bone", (0.0, 0.0, 0.1, 0.1))],
    }
    # Of two dogs at one place the phrase means the nearer one.
    assert [len(entry.get("phrases", ())) for entry in item["objects"]] == [0, 0, 1, 1, 1, 1]
    numbers = {each["label"]["text"]: each["label"]["index"] for each in item["objects"]}
    assert numbers == {"cat": 0, "dog": 1, "bone": 2}
    assert [label["text"] for label in item["labels"]] == ["cat", "dog"]
    notes = {note.detail: note.count for note in account.notes}
    assert notes == {
        "phrases of pictures that it does not list": 1,
        "boxes of phrases outside of their picture": 1,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": "A cat"}, "field text: 'A cat' is not what stands at characters 0 to 5"),
        ({"start": -5}, "characters -5 to 5 of"),
        ({"boxes": [[1, 2, 3]]}, "field boxes.0.: expected 4 numbers"),
        ({"category": None}, "field category: expected text, found None"),
    ],
)
def test_wrong_coco_phrases_are_named(tmp_path, changes, words):
    phrase = _PHRASES["data"][0]["phrases"][0] | changes
    wrong = [{"image_id": 7, "caption": _CAPTION, "phrases": [phrase]}]
    with pytest.raises(UserError, match=f"--phrases .*entry 0, phrases.0..*{words}"):
        _coco(tmp_path, wrong)


def test_coco_phrases_need_the_sizes_of_pictures(tmp_path):
    with pytest.raises(UserError, match="--captions .*images.0., field height: expected a number"):
        _coco(tmp_path, height=None)
    with pytest.raises(UserError, match="--phrases .* holds no list"):
        _coco(tmp_path, {"captions": []})


def _nlvr(folder, **changes):
    example = {"identifier": "1-0", "image": "a.png", "sentence": "s", "label": "true"}
    drawn = {
        "objects": [
            {"panel": 0, "shape": "square", "color": "blue", "bbox": [40, 80, 60, 100]},
            {"panel": 1, "shape": "circle", "color": "blue", "bbox": [190, 0, 210, 20]},
            {"panel": 2, "shape": "square", "color": "blue", "bbox": [340, 59, 360, 79]},
            {"panel": 2, "shape": "square", "color": "blue", "bbox": [440, 59, 460, 79]},
        ],
        "referring_derived": [
            {"phrase": "the  circle", "bbox": [190, 0, 210, 20]},
            {"phrase": "it", "bbox": [190, 0, 211, 20]},
        ],
    }
    path = folder / "nlvr.jsonl"
    path.write_text(json.dumps(example | drawn | changes) + "\n")
    account = Account()
    return list(read_nlvr(str(path), str(folder), {"train": 1.0}, account)), account


def test_nlvr_objects_are_what_is_drawn(tmp_path):
    pictures(tmp_path, "a.png", size=(400, 100))
    (item,), account = _nlvr(tmp_path)
    assert meanings(item) == {("the circle", "", -1): [("blue circle", (0, 0.475, 0.2, 0.525))]}
    assert [each["label"]["text"] for each in item["objects"]] == [
        "blue square",
        "blue circle",
        "blue square",
    ]
    assert {note.detail: note.count for note in account.notes} == {
        "objects outside of their picture": 1,
        "phrases whose box is no object's": 1,
    }
    (item,), _ = _nlvr(tmp_path, objects=[], referring_derived=[])
    assert "objects" not in item
    with pytest.raises(UserError, match="line 1, objects.0., field color: missing"):
        _nlvr(tmp_path, objects=[{"shape": "square", "bbox": [0, 0, 1, 1]}])
    (tmp_path / "a.png").write_bytes(b"x")
    ((name, reject),), _ = _nlvr(tmp_path)
    assert (name, reject.code) == ("1-0", RejectCode.CORRUPT_IMAGE)


def _phrases_of(items):
    return [(item["id"], *each) for item in items for each in meanings(item).items()]


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")
def test_phrases_of_the_real_sets(tmp_path):
    def items(source, *options):
        output = tmp_path / f"{source}.jsonl"
        assert main(["manifest", source, f"--output={output}", *options]) == 0
        return [line.item for line in manifest.read(str(output))]

    coco = items(
        *("coco", f"--captions={DATA}/coco/captions.json", f"--images={DATA}/coco/images"),
        f"--instances={DATA}/coco/instances.json",
        f"--phrases={DATA}/coco/phrase_grounding_derived.json",
    )
    found = _phrases_of([item for item in coco if "objects" in item])
    assert len(found) == 1637 and sum(len(meant) == 1 for *_, meant in found) == 920
    # Every box of a phrase is one of the instances, so no object was added.
    assert sum(len(item.get("objects", ())) for item in coco) == 2253 - 19
    by_phrase = {(name, *phrase[1:]): meant for name, phrase, meant in found}
    # [224.8, 161.8, 312.7, 224.0] in a picture of 448 by 298 pixels.
    sentence = "A woman stands in the dining area at the table."
    assert by_phrase["139", sentence, 8] == [
        (
            "dining table",
            pytest.approx((161.8 / 298, 224.8 / 448, 224 / 298, 312.7 / 448), abs=2e-4),
        )
    ]
    nlvr = items("nlvr", f"--examples={DATA}/nlvr/nlvr.jsonl", f"--images={DATA}/nlvr/images")
    found = _phrases_of(nlvr)
    assert len(found) == 3459 and all(len(meant) == 1 for *_, meant in found)
    labels = collections.Counter(e["label"]["text"] for item in nlvr for e in item["objects"])
    assert len(labels) == 9 and labels["black square"] == 1544 and labels.total() == 6323
    first = {phrase[0]: meant for name, phrase, meant in found if name == "2522-2"}
    assert first["the black square"] == [("black square", (0.8, 0.1, 1.0, 0.15))]
