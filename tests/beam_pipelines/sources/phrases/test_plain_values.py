"""Pickles are read as plain values and run nothing; long lists are read entry by entry."""

import json
import os
import pickle

import pytest

from beam_pipelines.sources.phrases.json_list import json_entries
from beam_pipelines.sources.phrases.plain_values import read_values, unpickled
from mm_models.errors import UserError

_VALUES = {1: {"a": {"x", "y"}, "b": [(1, 2.5, None), True, "ü", b"raw"]}, "c": frozenset({3})}


class _Runs:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (self._path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_of_every_protocol_come_back(protocol):
    # Before protocol 3 bytes are pickled as a call, which is refused.
    values = _VALUES if protocol > 2 else {**_VALUES, 1: {"a": {"x", "y"}}}
    assert unpickled(pickle.dumps(values, protocol)) == values


def test_strings_of_python_2_are_text():
    assert unpickled(b"(lp0\nS'a caf\\xc3\\xa9'\np1\naVb\np2\na.") == ["a café", "b"]


def test_what_a_pickle_would_run_is_not_run(tmp_path):
    path = tmp_path / "made"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        file = tmp_path / "a.p"
        file.write_bytes(pickle.dumps([_Runs(str(path))], protocol))
        with pytest.raises(UserError, match="--refs .*a.p cannot be read: .*names .*mkdir"):
            read_values(str(file), "--refs")
    for named in (b"cbuiltins\neval\n(S'1'\ntR.", b"c__builtin__\ngetattr\n.", b"\x80\x02]q."):
        with pytest.raises(ValueError, match="no pickle of plain values"):
            unpickled(named)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"\x80", b"plain words", b"\x80\x04\x95\xff", b"]", b"{"])
def test_damage_is_named_with_flag_and_file(tmp_path, content):
    (tmp_path / "a.p").write_bytes(content)
    with pytest.raises(UserError, match="--refs .*a.p cannot be read"):
        read_values(str(tmp_path / "a.p"), "--refs")


def test_json_is_read_by_its_first_sign(tmp_path):
    (tmp_path / "a.p").write_bytes(b'\xef\xbb\xbf \n{"a": [1]}')
    assert read_values(str(tmp_path / "a.p"), "--refs") == {"a": [1]}


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_is_read_entry_by_entry(tmp_path, chunk_bytes, indent):
    for value in ([], [12], [-1.5e3, 123456, "é]", {"a": [1, {"b": "\\"}]}, [], None, True]):
        text = json.dumps(value, indent=indent, ensure_ascii=False)
        (tmp_path / "a.json").write_text(f" {text} \n", encoding="utf-8-sig")
        assert list(json_entries(str(tmp_path / "a.json"), "--a", chunk_bytes)) == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no list"),
        (b'{"a": 1}', "holds no list"),
        (b"[1 2]", "no comma or end behind entry 0"),
        (b"[1, 2", "no comma or end behind entry 1"),
        (b"[1,]", "entry 1 is not JSON"),
        (b'[1, {"a"', "entry 1 is not JSON"),
        (b"[1] 2", "something stands behind the list"),
        (b"[1, NaN]", "NaN is not a JSON number"),
        (b'["\xff"]', "cannot be read: .*utf-8"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_damaged_lists_are_named(tmp_path, content, words, chunk_bytes):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=f"--a .*{words}"):
        list(json_entries(str(tmp_path / "a.json"), "--a", chunk_bytes))
