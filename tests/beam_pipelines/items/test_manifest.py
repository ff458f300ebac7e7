"""The manifest: errors that name the place, duplicates, splits."""

import pytest

from beam_pipelines.items import manifest, schema
from mm_models.errors import UserError
from mmstack import main
from tests.beam_pipelines.media.small_media import write_lines

GOOD = {"id": "a", "media": "a.mp4"}
TRACK = [
    {"time_seconds": 0.0, "box_yxyx_norm": [0, 0, 1, 1]},
    {"time_seconds": 0.0, "box_yxyx_norm": [0, 0, 1, 1]},
]


def phrased(text="the dog", **fields) -> dict:
    return {**GOOD, "objects": [{"id": 0, "phrases": [{"text": text, **fields}]}]}


WRONG = [
    ("{", "not JSON"),
    ("[]", "field : expected an object"),
    ('{"id": "a"}', "field media: missing"),
    ('{"media": "a.mp4"}', "field id: missing"),
    ('{"id": "", "media": "a.mp4"}', "field id: expected a non-empty line"),
    ('{"id": 3, "media": "a.mp4"}', "field id: expected a string, found 3"),
    ({**GOOD, "colour": 1}, "field colour: unknown"),
    ({**GOOD, "split": "dev"}, "field split: expected one of train, val, test, found 'dev'"),
    ({**GOOD, "captions": "a dog"}, "field captions: expected a list"),
    ({**GOOD, "captions": [{"text": 5}]}, "field captions[0].text: expected a string, found 5"),
    ({**GOOD, "captions": [{"text": "a\0b"}]}, "field captions[0].text: NUL"),
    ({**GOOD, "captions": [{"text": "a", "lang": "en"}]}, "field captions[0].lang: unknown"),
    (
        {**GOOD, "captions": [{"text": "a", "start_seconds": 2, "end_seconds": 1}]},
        "field captions[0].end_seconds: 1 is before the start, 2",
    ),
    (
        {**GOOD, "captions": [{"text": "a", "start_seconds": 2}]},
        "field captions[0].end_seconds: missing",
    ),
    ({**GOOD, "labels": [{"index": -1, "text": "x"}]}, "field labels[0].index: expected at least"),
    ({**GOOD, "labels": [{"index": True, "text": "x"}]}, "field labels[0].index: expected an int"),
    ('{"id": "a", "media": "b", "captions": [{"text": "t", "start_seconds": NaN}]}', "NaN"),
    (
        {**GOOD, "objects": [{"id": 0, "track": [{"time_seconds": 0, "box_yxyx_norm": [1, 0]}]}]},
        "field objects[0].track[0].box_yxyx_norm: expected [y0, x0, y1, x1]",
    ),
    (
        {**GOOD, "objects": [{"id": 0, "track": [{**TRACK[0], "box_yxyx_norm": [0.5, 0, 0, 1]}]}]},
        "field objects[0].track[0].box_yxyx_norm: expected y0 <= y1",
    ),
    ({**GOOD, "group": "v"}, "field group_index: missing, its partner group is given"),
    ({**GOOD, "group_index": 0}, "field group: missing, its partner group_index is given"),
    ({**GOOD, "group": "", "group_index": 0}, "field group: expected a non-empty line"),
    ({**GOOD, "group": "v", "group_index": -1}, "field group_index: expected at least 0"),
    ({**GOOD, "objects": [{"id": 0, "track": TRACK}]}, "objects[0].track: times do not increase"),
    ({**GOOD, "objects": [{"id": 0}, {"id": 0}]}, "field objects: ids repeat"),
    (phrased(sentence="a dog"), "objects[0].phrases[0].first_word: missing, its partner sentence"),
    (phrased(first_word=0), "objects[0].phrases[0].sentence: missing, its partner first_word"),
    (phrased(sentence="so the dog", first_word=-1), "first_word: expected at least 0"),
    (phrased(sentence="so the dog", first_word=0), "'the dog' does not stand at word 0 of"),
    (phrased(sentence="so the dog", first_word=2), "'the dog' does not stand at word 2 of"),
    (phrased(sentence="the big dog", first_word=0), "'the dog' does not stand at word 0 of"),
    (phrased("", sentence="the dog", first_word=0), "'' does not stand at word 0 of"),
    (
        {
            **GOOD,
            "objects": [{"id": 0}],
            "relations": [{"subject_id": 0, "predicate": "left_of", "object_id": 7}],
        },
        "field relations[0].object_id: no object 7",
    ),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_wrong_line_is_named_with_its_field(tmp_path, line, message):
    path = write_lines(tmp_path / "m.jsonl", [GOOD, "", line])
    with pytest.raises(UserError) as error:
        list(manifest.read(str(path)))
    assert str(error.value).startswith(f"{path} line 3, ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence", "first_word"),
    [
        ("the  dog", "So the\ndog barks.", 1),
        ("the table", "They sit at the table.", 3),
        ("a bear", "A picture of a bear's face", 3),
        ("dog", "dog", 0),
    ],
)
def test_phrases_stand_in_their_sentence(text, sentence, first_word):
    schema.check_item(phrased(text, sentence=sentence, first_word=first_word))


def test_missing_and_empty_manifests_are_named(tmp_path):
    for path in (tmp_path / "none.jsonl", write_lines(tmp_path / "empty.jsonl", ["", " "])):
        with pytest.raises(UserError, match=path.name):
            manifest.scan(str(path))


def test_scan_finds_offsets_duplicates_and_labels(tmp_path):
    items = [
        {**GOOD, "labels": [{"index": 2, "text": "two"}]},
        {"id": "b", "media": "ü.mp4", "split": "val"},
        {**GOOD, "media": "c.mp4"},
    ]
    path = write_lines(tmp_path / "m.jsonl", items)
    (tmp_path / "a.mp4").write_bytes(b"12345")
    summary = manifest.scan(str(path), measure_media=True)
    content = path.read_bytes()
    for offset, size, item in zip(summary.offsets, summary.sizes_bytes, items, strict=True):
        assert manifest.parse_line(content[offset : offset + size]) == item
    assert summary.duplicates.tolist() == [False, False, True]
    assert summary.labels == ["", "", "two"]
    assert summary.media_bytes.tolist() == [5, 0, 0]
    assert summary.split_items == {"": 2, "val": 1}


def test_labels_that_disagree_are_an_error(tmp_path):
    items = [
        {"id": "a", "media": "a", "labels": [{"index": 0, "text": "cat"}]},
        {"id": "b", "media": "b", "labels": [{"index": 0, "text": "dog"}]},
    ]
    path = write_lines(tmp_path / "m.jsonl", items)
    with pytest.raises(UserError, match=r"line 2, field labels\[0\]: label 0 is 'dog'"):
        manifest.scan(str(path))


def test_splits_follow_the_hash_and_the_shares():
    shares = {"train": 0.7, "val": 0.1, "test": 0.2}
    items = [{"id": f"item {number}"} for number in range(4000)]
    found = [manifest.split_of(item, shares) for item in items]
    for split, share in shares.items():
        assert found.count(split) / len(found) == pytest.approx(share, abs=0.03)
    assert found[:3] == [manifest.split_of({"id": f"item {n}"}, shares) for n in range(3)]
    assert manifest.split_of({"id": "item 0", "split": "val"}, {"train": 1.0}) == "val"
    parts = [{"id": f"{n}", "group": "item 0", "group_index": n} for n in range(99)]
    assert {manifest.split_of(part, shares) for part in parts} == {found[0]}
    # Stable for ever: records written by two versions must not leak from one split into another.
    assert manifest.stable_hash("item 0", "split") == 0x65EA7C0C3E2AD6A9


@pytest.mark.parametrize(
    "text", ["train=0.5", "train=x", "dev=1.0", "train=1.5,val=-0.5", "train=nan"]
)
def test_wrong_split_shares_are_refused(text):
    with pytest.raises(UserError, match="--split_shares"):
        manifest.parse_split_shares(text)


def test_write_checks_and_round_trips(tmp_path):
    items = [
        {"id": "a", "media": "ü.mp4", "captions": [{"text": "日本"}]},
        {"id": "b", "media": "b"},
    ]
    path = str(tmp_path / "m.jsonl")
    assert manifest.write(path, items) == 2
    assert [line.item for line in manifest.read(path)] == items
    with pytest.raises(schema.SchemaError, match="media: missing"):
        manifest.write(path, [{"id": "x"}])


def test_check_command(tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"x")
    path = write_lines(tmp_path / "m.jsonl", [GOOD])
    assert main(["manifest", "check", "--manifest", str(path)]) == 0
    assert "1 items" in capsys.readouterr().out
    write_lines(path, [GOOD, GOOD])
    assert main(["manifest", "check", "--manifest", str(path)]) == 2
    assert "line 2, field id: 'a' is also on line 1" in capsys.readouterr().err
    write_lines(path, [{"id": "a", "media": "gone.mp4"}])
    assert main(["manifest", "check", "--manifest", str(path)]) == 2
    assert "line 1, field media" in capsys.readouterr().err
