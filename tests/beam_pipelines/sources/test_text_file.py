"""A text file to a manifest without media, and on to records of words alone."""

import json

import pytest

from beam_pipelines.record import contract, reading
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.text_file import read_text_file
from mm_models.errors import UserError
from mmstack import main

SHARES = {"train": 0.5, "test": 0.5}
LINES = "\ufeffA dog, barking.\r\n \n\tA  cat\n" + "".join(f"number {n}\n" for n in range(40))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_bytes((LINES + "A cat").encode())
    return path


def test_lines_are_items_and_equal_ones_share_a_split(text):
    account = Account()
    items = list(read_text_file(str(text), SHARES, "en", account))
    texts = [item["captions"][0]["text"] for item in items]
    assert texts[:3] == ["A dog, barking.", "A cat", "number 0"] and len(items) == 43
    assert [item["id"] for item in items[:2]] == ["line-00000001", "line-00000003"]
    assert items[0]["captions"] == [{"text": "A dog, barking.", "language": "en"}]
    assert items[1]["split"] == items[-1]["split"] and texts[-1] == "A cat"
    assert {item["split"] for item in items} == {"train", "test"}
    assert [note.count for note in account.notes] == [1]
    assert "language" not in next(read_text_file(str(text), SHARES))["captions"][0]


def test_what_is_no_text_is_told(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"good\n\xff\xfe\n")
    with pytest.raises(UserError, match="line 2 is no UTF-8"):
        list(read_text_file(str(tmp_path / "bad.txt"), SHARES))
    with pytest.raises(UserError, match="cannot be read"):
        list(read_text_file(str(tmp_path / "none.txt"), SHARES))


def test_text_becomes_records_of_words_alone(text, tmp_path, capsys):
    path, records = tmp_path / "m.jsonl", tmp_path / "records"
    flags = [f"--text={text}", f"--output={path}", "--split_shares=train=0.5,test=0.5"]
    assert main(["manifest", "text", *flags]) == 0
    assert "items written   43" in capsys.readouterr().out
    # An item with media keeps its captions, labels and questions; the file need not be there.
    more = {"id": "m", "media": "gone.mp4", "split": "test", "start_seconds": 1, "end_seconds": 2}
    more["captions"] = [
        {"text": text, "start_seconds": start, "end_seconds": start + 0.5}
        for text, start in (("inside", 1.2), ("outside", 3.0))
    ]
    with path.open("a") as file:
        file.write(json.dumps(more) + "\n")
        file.write(json.dumps(more) + "\n")
    command = ["preprocess", f"--manifest={path}", f"--output={records}", "--text_only"]
    assert main([*command, "--workers=1"]) == 0
    found = {}
    for split in ("train", "test"):
        for context, lists in reading.iterate(str(records), split):
            assert not lists
            (key,) = context[contract.CLIP_KEY]
            found[key.decode()] = [caption.decode() for caption in context[contract.CAPTION]]
            assert context[contract.NUM_FRAMES] == context[contract.NUM_SAMPLES] == [0]
    assert len(found) == 44 and found["line-00000001#0"] == ["A dog, barking."]
    assert found["m#0"] == ["inside"]
    rejects = (records / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["code"] for line in rejects] == ["duplicate_id"]
    info = json.loads((records / "dataset_info.json").read_text())
    assert info["media"]["frame_rate_hz"] is None and info["media"]["sample_rate_hz"] is None
