"""Pickles are read as plain values, and run nothing."""

import os
import pickle

import pytest

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
