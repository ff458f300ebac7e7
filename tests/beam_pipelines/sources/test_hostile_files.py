"""Whatever lies in a folder: caption files and tables end in items, rejects or one sentence."""

import json
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beam_pipelines.items.manifest import write
from beam_pipelines.items.schema import CONTENT, check_content
from beam_pipelines.rejects import Reject
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.captions.caption_file import PARSERS, read_captions
from beam_pipelines.sources.csv_table import read_csv
from beam_pipelines.sources.folder import read_folder
from beam_pipelines.sources.table_columns import ColumnMapping
from mm_models.errors import UserError
from tests.beam_pipelines.sources.caption_writers import FORMATS

NAMES = st.sampled_from(
    [
        *CONTENT,
        *("text", "caption", "sentences", "timestamps", "timestamp", "start", "end", "segments"),
        *(
            "chunks",
            "words",
            "word",
            "result",
            "language",
            "offsets",
            "from",
            "to",
            "events",
            "segs",
        ),
        *("tStartMs", "dDurationMs", "utf8", "lines", "style", "id", "database", "annotations"),
        *("segment", "label", "a", "start_seconds", "end_seconds", "relation", "subject_id"),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "moment", "0:01", "1.5", "1e999", "nan", "\ud800", "x\x00", "é" * 3])
    | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
CUES = [(0, 1000, "one"), (2000, 3000, "two & <b>more</b>"), (3000, 4000, "three")]


def check(folder, extension: str, content: bytes) -> None:
    path = folder / f"a{extension}"
    path.write_bytes(content)
    found = read_captions(str(path))
    if isinstance(found, Reject):
        assert found.detail.startswith("a.") and "\n" not in found.detail[:60]
        return
    check_content(found.content)
    assert all(note.count > 0 and note.name == path.name for note in found.notes)
    # What was read can be written as a line of a manifest.
    item = {"id": "a", "media": "a.mp4", **found.content}
    assert write(str(folder / "m.jsonl"), [item]) == 1
    assert json.loads((folder / "m.jsonl").read_bytes())["id"] == "a"


@pytest.mark.parametrize("extension", sorted(PARSERS))
def test_any_bytes(tmp_path_factory, extension):
    folder = tmp_path_factory.mktemp("bytes")
    written = [write(CUES, None).encode() for kind, write in FORMATS.values() if kind == extension]
    alphabet = string.digits + '-->:.,;{}[]"\\<>&#\n\t abWEBVTT'

    @settings(max_examples=40, deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=60),
            st.text(alphabet, max_size=80).map(str.encode),
            st.tuples(st.sampled_from(written or [b"1 2 three\n"]), st.data()).map(lambda t: t),
        )
    )
    @example(b'"\x01\n\x01')
    @example(b"9" * 5000 + b":00:01,0 --> 0:02\nx\n")
    def run(content):
        if isinstance(content, tuple):
            whole, data = content
            at = data.draw(st.integers(0, len(whole)))
            width = data.draw(st.integers(0, 8))
            content = whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + width :]
        check(folder, extension, content)

    run()


@settings(max_examples=150, deadline=None)
@given(VALUES)
@example([{"words": True, "text": "a"}])
def test_any_json(tmp_path_factory, value):
    check(tmp_path_factory.getbasetemp(), ".json", json.dumps(value).encode())


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "a.mp4", "b"]), VALUES, min_size=1, max_size=3))
def test_any_json_about_a_folder(tmp_path_factory, value):
    folder = tmp_path_factory.getbasetemp() / "folder"
    folder.mkdir(exist_ok=True)
    (folder / "a.mp4").write_bytes(b"x")
    (folder / "all.json").write_text(json.dumps(value))
    account = Account()
    for entry in read_folder(str(folder), account=account):
        if isinstance(entry, dict):
            check_content({k: v for k, v in entry.items() if k not in ("id", "media")})
    assert sum(list(account.tallies.values())[1:]) == account.tallies["files found"] == 2
    json.dumps(account.to_json(), ensure_ascii=False).encode()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([".csv", ".tsv", ".json", ".jsonl"]),
    st.one_of(
        st.binary(max_size=60),
        st.text("file,start;end\t#\"\n 01.:x-/'", max_size=80).map(str.encode),
        VALUES.map(lambda value: json.dumps(value).encode()),
    ),
)
def test_any_table(tmp_path_factory, extension, content):
    path = tmp_path_factory.getbasetemp() / f"table{extension}"
    path.write_bytes(content)
    account = Account()
    try:
        found = list(read_csv(str(path), ColumnMapping(), check_files=False, account=account))
    except UserError as error:
        assert f"table {path}" in str(error)
        return
    assert len(found) == account.tallies["rows that match"]
    json.dumps(account.to_json(), ensure_ascii=False).encode()
