import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers.record_factory import Recipe, serialize, write_record_folder, write_shard
from trainers.data.config import DatasetConfig
from trainers.data.reading import shards
from trainers.data.reading.index import CorruptRecord, RecordIndex, find_key
from trainers.data.reading.shards import scan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    recipe = Recipe(splits={"train": 11, "empty": 0}, num_frames=2, num_shards=3)
    return write_record_folder(tmp_path_factory.mktemp("records"), recipe)


def _open(path, split="train"):
    return RecordIndex.open(DatasetConfig(path=str(path), split=split))


def test_reads_what_tensorflow_reads(folder):
    index = _open(folder)
    expected = list(
        tf.data.TFRecordDataset([shard.path for shard in index.shards]).as_numpy_iterator()
    )
    assert index.num_records == 11
    assert index.read([10, 0, 5]) == [expected[10], expected[0], expected[5]]
    assert index.read(range(11)) == expected


def test_scan_equals_the_index_file(folder):
    for shard in _open(folder).shards:
        found = scan(shard.path, os.path.getsize(shard.path))
        np.testing.assert_array_equal(found, shard.offsets)


def test_a_foreign_shard_is_walked_once_until_it_changes(tmp_path, monkeypatch):
    walked = []
    monkeypatch.setattr(shards, "scan", lambda *args: walked.append(args) or scan(*args))
    path = tmp_path / "foreign.tfrecord"
    for count in (2, 3):
        contents = [serialize(number, "train", Recipe(num_frames=1)) for number in range(count)]
        write_shard(str(path), contents, with_index=False)
        assert [_open(path).num_records for _ in range(2)] == [count, count]
    assert len(walked) == 2


@pytest.mark.parametrize("pattern", ["train-*", "train-*.tfrecord", "train@3"])
def test_globs_of_foreign_shards(folder, pattern):
    assert _open(f"{folder}/{pattern}").num_records == 11


def test_remote_files():
    recipe = Recipe(splits={"train": 5}, num_frames=2)
    folder = write_record_folder("ram://remote/records", recipe)
    index = _open(folder)
    assert index.read(range(5)) == [serialize(number, "train", recipe) for number in range(5)]
    assert _open("ram://remote/records/train-*").num_records == 5


def _damaged(tmp_path, position_from_end: int, with_index: bool = True):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    recipe = Recipe(num_frames=2)
    offsets = write_shard(
        str(path), [serialize(number, "train", recipe) for number in range(3)], with_index
    )
    content = bytearray(path.read_bytes())
    content[offsets[2] - position_from_end] ^= 0xFF
    path.write_bytes(content)
    return path, offsets


@pytest.mark.parametrize("position", [1, 200])
def test_a_flipped_byte_names_shard_offset_and_key(tmp_path, position):
    path, offsets = _damaged(tmp_path, position)
    index = _open(tmp_path / "*.tfrecord")
    index.read([0, 2])
    with pytest.raises(CorruptRecord) as error:
        index.read([0, 1])
    assert error.value.shard == str(path)
    assert error.value.offset == offsets[1]
    assert error.value.key == "train/000001#0"
    assert "content fails the checksum" in str(error.value)


def test_a_damaged_length_fails_in_the_record_or_in_the_scan(tmp_path):
    _, offsets = _damaged(tmp_path, 0)
    # The flipped byte is the first of the third record's length.
    with pytest.raises(CorruptRecord, match="its length fails the checksum"):
        _open(tmp_path / "*.tfrecord").read([2])
    (tmp_path / "train-00000-of-00001.tfrecord.index").unlink()
    with pytest.raises(UserError, match=f"damaged at offset {offsets[2]}"):
        _open(tmp_path / "*.tfrecord")


def test_a_shard_cut_short_is_found_at_once(tmp_path):
    path, _ = _damaged(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="index ends at"):
        _open(tmp_path / "*.tfrecord")
    pathlib.Path(f"{path}.index").unlink()
    with pytest.raises(UserError, match="cut short"):
        _open(tmp_path / "*.tfrecord")


def test_what_is_missing_is_said_in_a_sentence(folder, tmp_path):
    with pytest.raises(UserError, match="no record folder"):
        _open(tmp_path)
    with pytest.raises(UserError, match=r"'vall' is not in .*\['empty', 'train'\]"):
        _open(folder, "vall")
    with pytest.raises(UserError, match="holds no records"):
        _open(folder, "empty")
    with pytest.raises(UserError, match="no file matches"):
        _open(tmp_path / "*.tfrecord")
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        _open(tmp_path)
    (tmp_path / "dataset_info.json").write_text(
        '{"splits": {"train": {"shards": [{"file": "gone.tfrecord"}]}}}'
    )
    with pytest.raises(UserError, match=r"gone\.tfrecord does not exist"):
        _open(tmp_path)


@pytest.mark.parametrize("length", [1, 10, 127, 128, 3000])
def test_keys_are_found_in_serialized_records(length):
    example = tf.train.SequenceExample()
    example.context.feature["clip/key"].bytes_list.value[:] = [b"k" * length]
    example.context.feature["zzz"].bytes_list.value[:] = [b"\n\n\n"]
    content = example.SerializeToString()
    assert find_key(content) == "k" * length
    assert find_key(content[:5]) == "unknown"
    assert find_key(b"clip/key\x12\xff") == "unknown"
