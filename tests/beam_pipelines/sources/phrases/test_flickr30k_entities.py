"""Flickr30k Entities: marked-up sentences and boxes of a toy folder, against values by hand."""

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.rejects import RejectCode
from beam_pipelines.sources.account import Account, NoteCode
from beam_pipelines.sources.phrases.entity_boxes import parse_entity_boxes
from beam_pipelines.sources.phrases.entity_markup import parse_sentence
from beam_pipelines.sources.phrases.flickr30k_entities import read_flickr30k_entities
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.sources.phrases.phrase_files import meanings, pictures

_SENTENCES = """\
[/EN#11/people Two  men] lift [/EN#12/clothing/bodyparts a hat] in [/EN#13/scene the park] .

[/EN#11/people They] do [/EN#0/notvisual it] by [/EN#14/other the pond], "non-[/EN#11/people men]" .
"""
_BOX = (
    "<object>{}<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
    "</object>"
)
_ANNOTATION = (
    "<annotation><filename>7.jpg</filename><size><width>200</width><height>100</height></size>"
    + _BOX.format("<name>11</name>", 1, 1, 100, 50)
    + _BOX.format("<name>11</name><name>12</name>", 101, 51, 200, 100)
    + _BOX.format("<name>99</name>", 1, 1, 2, 2)
    + _BOX.format("<name>12</name>", 201, 1, 220, 20)
    + "<object><name>13</name><scene>1</scene><nobndbox>0</nobndbox></object>"
    + "<object><name>14</name><scene>0</scene><nobndbox>1</nobndbox></object></annotation>"
)
_LEFT, _RIGHT = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)


@pytest.fixture
def folder(tmp_path):
    pictures(tmp_path / "images", "7.jpg", "8.jpg")
    for inside in ("Sentences", "Annotations"):
        (tmp_path / inside).mkdir()
    (tmp_path / "Sentences" / "7.txt").write_text(_SENTENCES)
    (tmp_path / "Annotations" / "7.xml").write_text(_ANNOTATION)
    (tmp_path / "train.txt").write_text("8\n9\n")
    (tmp_path / "test.txt").write_text("7\n")
    return tmp_path


def _read(folder):
    account = Account()
    found = read_flickr30k_entities(str(folder), str(folder / "images"), account)
    return list(found), account


def test_phrases_keep_their_sentence_their_boxes_and_their_categories(folder):
    (no_sentences, no_picture, item), account = _read(folder)
    first, second = (caption["text"] for caption in item["captions"])
    assert first == "Two men lift a hat in the park ."
    assert second == 'They do it by the pond, "non-men" .'
    assert (item["id"], item["media"], item["split"]) == ("7", "7.jpg", "test")
    people = [("people", _LEFT), ("people", _RIGHT)]
    assert meanings(item) == {
        ("Two men", first, 0): people,
        ("a hat", first, 3): [("bodyparts/clothing", _RIGHT)],
        ("the park", first, 6): [("scene", None)],
        ("They", second, 0): people,
        ("it", second, 2): [("notvisual", None)],
        ("the pond", second, 4): [("other", None)],
        ("men", second, 6): people,
    }
    indexes = {each["label"]["text"]: each["label"]["index"] for each in item["objects"]}
    assert indexes == {
        "people": 0,
        "bodyparts/clothing": 1,
        "scene": 2,
        "notvisual": 3,
        "other": 4,
    }
    assert (no_sentences[0], no_sentences[1].code) == ("8", RejectCode.FILE_MISSING)
    assert "Sentences/8.txt is missing" in no_sentences[1].detail
    assert (no_picture[0], no_picture[1].code) == ("9", RejectCode.FILE_MISSING)
    notes = {note.detail: note.count for note in account.notes}
    assert notes == {
        "boxes of entities that no sentence names": 1,
        "boxes outside of their picture": 1,
    }
    assert account.count(NoteCode.ROW_LEFT_OUT) == 2


def test_the_command_writes_items_rejects_and_notes(folder, capsys):
    output = folder / "m.jsonl"
    flags = [f"--folder={folder}", f"--images={folder}/images", f"--output={output}"]
    assert main(["manifest", "flickr30k_entities", *flags]) == 0
    (line,) = manifest.read(str(output))
    assert len(line.item["objects"]) == 6
    printed = capsys.readouterr().out
    assert "items rejected  2" in printed and "boxes of entities that no sentence names" in printed


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[/EN#1/people A man waits .", "has no words up to a closing"),
        ("[/EN#1/people A [/EN#2/other hat]] .", "has no words up to a closing"),
        ("[/EN#1/people  ] waits .", "has no words up to a closing"),
        ("[/EN#1/people] waits .", "is not `..EN#id/category words"),
    ],
)
def test_broken_markup_is_named_with_its_line(folder, line, words):
    (folder / "Sentences" / "7.txt").write_text(f"A man .\n{line}\n")
    with pytest.raises(UserError, match=f"Sentences/7.txt line 2: .*{words}"):
        _read(folder)


def test_brackets_that_are_no_entities_stay():
    assert parse_sentence("He [sic] waits [1]", "en") == ("He [sic] waits [1]", [])
    text, (entity,) = parse_sentence("a [/EN#5 dog]", "en")
    assert (text, entity.label, entity.chain) == ("a dog", "", "5")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("</annotation>", "", "not XML"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "document type"),
        ("<width>200</width>", "", "field size/width: expected a whole number, found ''"),
        ("<width>200", "<width>0", "field size/width: expected at least 1, found 0"),
        ("<xmin>101", "<xmin>1e2", "object 1, field bndbox/xmin: expected a whole number"),
        ("<name>99</name>", "", "object 2, field name: missing"),
        ("<scene>1", "<scene>0", "object 4 has no bndbox and neither of scene and nobndbox"),
    ],
)
def test_broken_annotations_are_named_with_their_field(folder, old, new, words):
    path = folder / "Annotations" / "7.xml"
    assert old in _ANNOTATION
    path.write_text(_ANNOTATION.replace(old, new, 1))
    with pytest.raises(UserError, match="Annotations/7.xml: ") as error:
        _read(folder)
    assert words in str(error.value)


def test_corners_are_pixels_counted_from_one():
    told = parse_entity_boxes(_ANNOTATION.encode())
    assert told.boxes == {"11": [_LEFT, _RIGHT], "12": [_RIGHT], "99": [(0.0, 0.0, 0.02, 0.01)]}


def test_a_folder_without_lists_and_ids_on_two_sides_are_refused(folder):
    (folder / "val.txt").write_text("7")
    with pytest.raises(UserError, match="test.txt has 7 in test, and it is in val too"):
        _read(folder)
    for name in ("train", "val", "test"):
        (folder / f"{name}.txt").unlink()
    with pytest.raises(UserError, match="has none of train.txt, val.txt, test.txt"):
        _read(folder)
