"""COCO captions, NLVR and tables with numbered classes, as manifests."""

import collections
import json
import pathlib

import pytest

from beam_pipelines.items import manifest
from beam_pipelines.items.schema import check_item
from beam_pipelines.rejects import RejectCode
from beam_pipelines.sources.coco import read_coco
from beam_pipelines.sources.coco_details import read_details
from beam_pipelines.sources.csv_table import read_csv
from beam_pipelines.sources.nlvr import read_nlvr
from beam_pipelines.sources.table_columns import ColumnMapping
from mm_models.errors import UserError
from mmstack import main

DATA = pathlib.Path(__file__).parents[4] / "shared" / "data"
SHARES = {"train": 0.5, "test": 0.5}


def write_coco(folder, **changes):
    images = [{"id": n, "file_name": f"{n:03d}.jpg", "width": 4} for n in (7, 3, 9, 11)]
    annotations = [
        {"id": 1, "image_id": 3, "caption": "A dog\n runs. "},
        {"id": 2, "image_id": 7, "caption": "A cat."},
        {"id": 3, "image_id": 3, "caption": "Un chien"},
        {"id": 4, "image_id": 9, "caption": "  "},
        {"id": 5, "image_id": 11, "caption": "Gone."},
    ]
    for number in (7, 3, 9):
        (folder / f"{number:03d}.jpg").write_bytes(b"x")
    path = folder / "captions.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations} | changes))
    return str(path)


def test_coco_pictures_with_all_their_captions(tmp_path):
    cat, dog, blank, gone = read_coco(write_coco(tmp_path), str(tmp_path))
    assert cat == {
        "id": "7",
        "media": "007.jpg",
        "captions": [{"text": "A cat.", "language": "en"}],
    }
    assert [caption["text"] for caption in dog["captions"]] == ["A dog runs.", "Un chien"]
    assert (blank[0], blank[1].code) == ("9", RejectCode.BAD_CAPTIONS)
    assert (gone[0], gone[1].code) == ("11", RejectCode.FILE_MISSING)


@pytest.mark.parametrize(
    ("content", "words"),
    [("[1]", "no COCO caption file"), ("{", "cannot be read"), ('{"images": []}', "annotations")],
)
def test_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / "captions.json"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        list(read_coco(str(path), str(tmp_path)))


def _write(path, value) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def test_coco_boxes_questions_and_other_languages(tmp_path):
    instances = {
        "images": [{"id": 7, "height": 50, "width": 100}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {"image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 50]},
            {"image_id": 7, "category_id": 17, "bbox": [0, 0, 1, 1], "iscrowd": 1},
            {"image_id": 7, "category_id": 90, "bbox": [50, 0, 50, 25]},
        ],
    }
    asked = {"image_id": 7, "question": "How  many?", "answer": 2, "type": "count"}
    details = read_details(
        _write(tmp_path / "instances.json", instances),
        _write(
            tmp_path / "questions.json", {"note": "", "data": [asked, {**asked, "language": "de"}]}
        ),
        _write(tmp_path / "more.json", [{"image_id": 7, "image": "7", "en": "A cat.", "ja": "猫"}]),
    )
    cat, dog, *_ = read_coco(write_coco(tmp_path), str(tmp_path), details)
    check_item(cat)
    assert cat["captions"][1:] == [{"text": "猫", "language": "ja", "style": "translation"}]
    assert cat["labels"] == [{"index": 1, "text": "dog"}]
    boxes = [each["track"][0]["box_yxyx_norm"] for each in cat["objects"]]
    assert boxes == [[0.1, 0.1, 1.0, 0.3], [0.0, 0.5, 0.5, 1.0]]
    assert [each["language"] for each in cat["questions"]] == ["en", "de"]
    question = {"text": "How many?", "answer": "2", "kind": "count", "language": "en"}
    assert cat["questions"][0] == question
    assert set(dog) == {"id", "media", "captions"}
    for flag, content, words in (
        ("instances", {"images": []}, "--instances .* has another form"),
        ("questions", [{"question": "?"}], "--questions .* has another form"),
        ("translations", 3, "--translations .* has another form"),
    ):
        with pytest.raises(UserError, match=words):
            read_details(**{flag: _write(tmp_path / "wrong.json", content)})
    with pytest.raises(UserError, match="--questions none cannot be read"):
        read_details(questions="none")


def nlvr_line(identifier, sentence, label="true", image="a.png"):
    values = {"identifier": identifier, "sentence": sentence, "label": label, "image": image}
    return json.dumps(values | {"objects": []})


def test_nlvr_sentences_are_captions_with_a_label_and_never_on_two_sides(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    lines = [nlvr_line(f"{n}-{k}", f"There are {n} blocks.") for n in range(60) for k in range(2)]
    # The same sentence under another number, written otherwise.
    lines += [nlvr_line(f"{n + 100}-0", f"there are  {n} blocks", "false") for n in range(60)]
    path = tmp_path / "nlvr.jsonl"
    path.write_text("\n".join(lines) + "\n\n")
    items = list(read_nlvr(str(path), str(tmp_path), SHARES))
    assert items[120]["captions"] == [
        {
            "text": "there are 0 blocks",
            "language": "en",
            "style": "false_sentence",
            "relation": "wrong",
        }
    ]
    assert items[120]["labels"] == [{"index": 0, "text": "false"}]
    assert items[0]["labels"] == [{"index": 1, "text": "true"}]
    assert (items[0]["captions"][0]["style"], items[0]["media"]) == ("true_sentence", "a.png")
    splits = collections.defaultdict(set)
    for item in items:
        splits[int(item["captions"][0]["text"].split()[2])].add(item["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert 15 < sum(found == {"train"} for found in splits.values()) < 45


def test_nlvr_mistakes_are_named(tmp_path):
    path = tmp_path / "nlvr.jsonl"
    for line in (nlvr_line("1-0", "x", "maybe"), "{}", "[]", "{"):
        path.write_text(f"{nlvr_line('0-0', 'y')}\n{line}\n")
        with pytest.raises(UserError, match="line 2 is no NLVR example"):
            list(read_nlvr(str(path), str(tmp_path), SHARES))
    path.write_text(nlvr_line("1-0", "x", image="../a.png"))
    ((name, reject),) = read_nlvr(str(path), str(tmp_path), SHARES)
    assert (name, reject.code) == ("1-0", RejectCode.BAD_METADATA)


def test_a_table_may_number_its_classes(tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("file,word,digit\na.wav,zero,0\nb.wav,two,2\nc.wav,one,x\n")
    mapping = ColumnMapping(captions=("word",), label="word", label_index="digit")
    zero, two, bad = read_csv(str(table), mapping, check_files=False)
    assert zero["labels"] == [{"index": 0, "text": "zero"}]
    assert two["labels"] == [{"index": 2, "text": "two"}]
    assert bad[0] == "row 4" and "'x' is no whole number" in bad[1].detail
    flags = [f"--table={table}", f"--output={tmp_path}/m.jsonl", "--label_index_column=digit"]
    assert main(["manifest", "csv", "--caption_columns=", *flags]) == 2
    assert "--label_column names" in capsys.readouterr().err


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")
def test_manifests_of_the_real_sets(tmp_path):
    def items(source, *options):
        output = tmp_path / f"{source}-{len(list(tmp_path.iterdir()))}.jsonl"
        assert main(["manifest", source, f"--output={output}", *options]) == 0
        return [line.item for line in manifest.read(str(output))]

    coco = items("coco", f"--captions={DATA}/coco/captions.json", f"--images={DATA}/coco/images")
    assert len(coco) == 266 and all(len(item["captions"]) >= 5 for item in coco)
    more = items(
        *("coco", f"--captions={DATA}/coco/captions.json", f"--images={DATA}/coco/images"),
        f"--instances={DATA}/coco/instances.json",
        f"--questions={DATA}/coco/vqa_derived.json",
        f"--translations={DATA}/coco/captions_multilingual.json",
    )
    languages = [{caption["language"] for caption in item["captions"]} for item in more]
    assert sum(found == {"en", "de", "fr", "es", "ru", "ja", "zh"} for found in languages) == 24
    assert sum(len(item.get("questions", ())) for item in more) == 1037
    assert 2000 < sum(len(item.get("objects", ())) for item in more) <= 2253
    nlvr = items("nlvr", f"--examples={DATA}/nlvr/nlvr.jsonl", f"--images={DATA}/nlvr/images")
    sides = collections.defaultdict(set)
    for item in nlvr:
        sides[item["id"].partition("-")[0]].add(item["split"])
    assert len(nlvr) == 700 and all(len(found) == 1 for found in sides.values())
    assert sum(item["labels"][0]["index"] for item in nlvr) == 393
    fsdd = items(
        *("csv", f"--table={DATA}/fsdd/labels.csv", "--caption_columns=word"),
        *("--label_column=word", "--label_index_column=digit", "--split_column=speaker"),
        "--split_names=george=train,jackson=train,lucas=train,nicolas=val,theo=test",
    )
    assert len(fsdd) == 1000 and sum(item["split"] == "test" for item in fsdd) == 200
    assert {(i["labels"][0]["index"], i["labels"][0]["text"]) for i in fsdd} >= {(0, "zero")}
