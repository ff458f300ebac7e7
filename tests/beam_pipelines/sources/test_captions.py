"""Caption files: every format, every encoding, and damaged ones."""

import codecs
import json
import pathlib

import pytest

from beam_pipelines.rejects import Reject, RejectCode
from beam_pipelines.sources.captions.caption_file import PARSERS, read_captions
from beam_pipelines.sources.csv_table import read_csv
from beam_pipelines.sources.table_columns import ColumnMapping

ROOT = pathlib.Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
GOLDEN = ROOT / "tests" / "golden" / "text_robustness.json"

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> &amp; good
evening

2
00:00:02,000 --> 00:01:03,040
{\\an8}Second speaker
"""


def captions_of(tmp_path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    return read_captions(str(path))


def test_subrip(tmp_path):
    expected = [
        {"text": "Hello & good evening", "start_seconds": 1.0, "end_seconds": 2.5},
        {"text": "Second speaker", "start_seconds": 2.0, "end_seconds": 63.04},
    ]
    for line_end in ("\n", "\r\n", "\r"):
        content = codecs.BOM_UTF8 + SRT.replace("\n", line_end).encode()
        assert captions_of(tmp_path, "a.srt", content).content == {"captions": expected}


def test_webvtt(tmp_path):
    content = (
        "WEBVTT - title\n\nNOTE a note\n\nSTYLE\n::cue{}\n\n"
        "name\n01:02.5 --> 01:03.25 line:80%\n<v Ann>Hi <00:01>there\n\n"
        "01:04.000 --> 01:05.000\n \n"
    )
    expected = [{"text": "Hi there", "start_seconds": 62.5, "end_seconds": 63.25}]
    assert captions_of(tmp_path, "a.vtt", content.encode()).content == {"captions": expected}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.srt", "just words\n", "no times in the block that starts 'just words'"),
        ("a.ass", "[Script Info]\n", "no [Events] section"),
        ("a.json", "3", "a list or an object"),
        ("a.json", '{"objects": [{"id": NaN}]}', "NaN is not a JSON number"),
        ("a.json", "[" * 100_000, "recursion"),
        ("a.csv", "x,y\n1,2\n", "without start, end and text"),
        ("a.txt", "Name:  x\nConf:  4\n", "a form with the fields Name, Conf"),
        ("a.txt", "Title: a\nTags: b, c\nUploader: d\n", "a form with the fields"),
        ("a.txt", "0 25000 sil\n25000 50000 bin\n50000 75000 sil\n", "rows of numbers"),
        ("a.txt", "<?xml version='1.0'?>\n<tt/>\n", "a file of another kind"),
        ("a.txt", "0:00 hello\n0:02 you\n", "lines begin with times"),
    ],
)
def test_wrong_files_are_rejected_with_the_reason(tmp_path, name, content, reason):
    found = captions_of(tmp_path, name, content.encode())
    assert isinstance(found, Reject)
    assert found.code == RejectCode.BAD_CAPTIONS
    assert reason in found.detail


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("Text:  a b\nRef: x\n\nFRAME X Y\n000 0.1 0.2\n001 0.1 0.2\n", ["a b"]),
        ("WORD START END\nSET 0.1 0.4\nBLUE 0.4 x\nBY 0.7 0.9\n", ["SET BY", "SET", "BY"]),
        ("0.10 0.40 SET\n0.40 0.70 BLUE\n", ["SET", "BLUE"]),
        ("Ann: hello\nBob: it is 4\nAnn: bye\n", ["Ann: hello", "Bob: it is 4", "Ann: bye"]),
        ("4 cats\n5 10\n", ["4 cats", "5 10"]),
    ],
)
def test_layouts_of_text_files(tmp_path, content, texts):
    found = captions_of(tmp_path, "a.txt", content.encode()).content["captions"]
    assert [caption["text"] for caption in found] == texts


def test_json_and_text(tmp_path):
    found = captions_of(tmp_path, "a.json", b'["one", {"text": "two", "language": "en"}]')
    assert found.content["captions"] == [{"text": "one"}, {"text": "two", "language": "en"}]
    found = captions_of(tmp_path, "a.json", b'{"labels": [{"index": 1, "text": "dog"}]}')
    assert found.content == {"labels": [{"index": 1, "text": "dog"}]}
    found = captions_of(tmp_path, "a.txt", "eins\r\n\r\n zwei ".encode("utf-16"))
    assert found.content == {"captions": [{"text": "eins"}, {"text": "zwei"}]}
    assert found.encoding == "utf-16"


def test_grid_alignment_is_one_timed_sentence(tmp_path):
    found = captions_of(tmp_path, "a.align", b"0 25000 sil\n25000 50000 bin\n50000 75000 blue\n")
    caption = {"text": "bin blue", "start_seconds": 1.0, "end_seconds": 3.0}
    assert found.content == {"captions": [caption]}


def test_a_file_that_is_gone_is_a_reject(tmp_path):
    assert read_captions(str(tmp_path / "a.txt")).code == RejectCode.FILE_MISSING


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")
def test_a_real_webvtt_file():
    captions = read_captions(str(DATA / "av_clips" / "friday.vtt")).content["captions"]
    assert len(captions) == 5
    assert captions[2] == {
        "text": "Tell me, is the lord of the universe in?",
        "start_seconds": 1.5,
        "end_seconds": 2.999,
    }


def outcome(path: pathlib.Path) -> dict:
    """What becomes of a text file, in the form of the golden table."""
    if path.suffix == ".csv":
        rows = list(read_csv(str(path), ColumnMapping(), check_files=path.stem == "missing_files"))
        items = [row for row in rows if isinstance(row, dict)]
        codes = [str(row[1].code) for row in rows if not isinstance(row, dict)]
        texts = [[caption["text"] for caption in item["captions"]] for item in items]
        return {"items": texts, "rejects": codes}
    found = read_captions(str(path))
    if isinstance(found, Reject):
        return {"reject": str(found.code), "detail": found.detail}
    texts = [caption["text"] for caption in found.content.get("captions", ())]
    return {"encoding": found.encoding, "captions": texts}


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")
def test_robustness_files_match_the_committed_table():
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    folder = DATA / "robustness" / "text"
    assert {path.name for path in folder.iterdir()} == set(golden)
    for name, expected in golden.items():
        assert pathlib.Path(name).suffix in (*PARSERS, ".csv")
        assert outcome(folder / name) == expected, name
