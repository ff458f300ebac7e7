"""ReferIt's expressions: a toy of the published files, against values by hand."""

import pickle

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.rejects import RejectCode
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.phrases.refclef import read_refclef
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.sources.phrases.phrase_files import meanings, pictures, write_json


def _ref(image, annotation, *texts, split="train"):
    sentences = [{"raw": text, "sent": text.lower().strip(), "tokens": []} for text in texts]
    return {"image_id": image, "ann_id": annotation, "split": split, "sentences": sentences}


_INSTANCES = {
    "images": [
        {"id": n, "file_name": f"{n}.jpg", "height": 100, "width": 200} for n in (1, 2, 3, 4, 5)
    ],
    "categories": [{"id": 30, "name": "sky"}, {"id": 4, "name": "man"}],
    "annotations": [
        {"id": 7, "category_id": 4, "bbox": [20, 10, 40, 50]},
        {"id": 8, "category_id": 4, "bbox": [100, 50, 100.6, 50]},
        {"id": 9, "category_id": 30, "bbox": [150, 0, 60, 50]},
    ],
}
_REFS = [
    _ref(1, 7, " Man  in red", "the man", "the man"),
    _ref(1, 8, "the man"),
    _ref(1, 9, "sky"),
    _ref(1, 77, "nothing"),
    _ref(2, 7, "left man", split="testA"),
    _ref(2, 8, "right man", split="testBC"),
    _ref(3, 7, "a", split="val"),
    _ref(3, 8, "b", split="test"),
    _ref(4, 7, "gone"),
    _ref(6, 7, "unknown"),
    _ref(5, 7, " "),
]


def _files(folder, refs=_REFS, instances=_INSTANCES):
    pictures(folder / "images", "1.jpg", "02/images/2.jpg", "3.jpg", "5.jpg")
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    path = write_json(folder / "instances.json", instances)
    return str(folder / "refs(unc).p"), path, str(folder / "images")


def test_expressions_are_phrases_of_their_regions(tmp_path):
    account = Account()
    found = list(read_refclef(*_files(tmp_path), account))
    first, second = (entry for entry in found if isinstance(entry, dict))
    assert (first["media"], first["split"], second["split"]) == ("1.jpg", "train", "test")
    assert second["media"] == "02/images/2.jpg"
    man, other = ("man", (0.1, 0.1, 0.6, 0.3)), ("man", (0.5, 0.5, 1.0, 1.0))
    assert meanings(first) == {
        ("Man in red", "", -1): [man],
        ("the man", "", -1): [man, other],
        ("sky", "", -1): [("sky", None)],
    }
    assert [each["label"]["index"] for each in first["objects"]] == [0, 0, 1]
    assert meanings(second) == {("left man", "", -1): [man], ("right man", "", -1): [other]}
    rejects = {entry[0]: entry[1].code for entry in found if not isinstance(entry, dict)}
    assert rejects == {
        "3": RejectCode.BAD_METADATA,
        "4": RejectCode.FILE_MISSING,
        "6": RejectCode.BAD_METADATA,
        "5": RejectCode.BAD_CAPTIONS,
    }
    assert {note.detail: note.count for note in account.notes} == {
        "boxes that go beyond their picture; their expressions are kept without a box": 1,
        "expressions of regions that are not listed": 1,
    }


def test_the_command_writes_the_pictures_that_can_be_used(tmp_path):
    refs, instances, images = _files(tmp_path)
    flags = [f"--refs={refs}", f"--instances={instances}", f"--images={images}"]
    assert main(["manifest", "refclef", *flags, f"--output={tmp_path}/m.jsonl"]) == 0
    items = [line.item for line in manifest.read(f"{tmp_path}/m.jsonl")]
    assert [item["id"] for item in items] == ["1", "2"]


@pytest.mark.parametrize(
    ("refs", "instances", "words"),
    [
        ({}, _INSTANCES, "--refs .* holds no list of references"),
        ([{"sentences": [{}]}], _INSTANCES, "entry 0, sentences.0., field sent: missing"),
        ([_ref(1, 7, "a", split="dev")], _INSTANCES, "entry 0, field split: expected .* 'dev'"),
        ([_ref("1", 7, "a")], _INSTANCES, "field image_id: expected a whole number, found '1'"),
        (_REFS, {"images": []}, "--instances .*, field categories: missing"),
        (
            _REFS,
            {**_INSTANCES, "annotations": [{"id": 1, "category_id": 4, "bbox": [1, 2, 3]}]},
            "annotations.0., field bbox: expected 4 numbers",
        ),
        (
            _REFS,
            {**_INSTANCES, "annotations": [{"id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]}]},
            "field category_id: 5 is none of the categories",
        ),
    ],
)
def test_other_forms_are_named(tmp_path, refs, instances, words):
    with pytest.raises(UserError, match=words):
        list(read_refclef(*_files(tmp_path, refs, instances), Account()))
