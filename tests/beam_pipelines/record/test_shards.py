"""Shards: framing, order, index, and damage."""

import hashlib
import struct

import pytest

from beam_pipelines.record import shards
from tests import tensorflow_setup  # noqa: F401  Splits the CPU before TensorFlow starts.

RECORDS = {f"key {number}": bytes([number]) * (number * 100) for number in range(20)}


def stage(folder, keys):
    staging = shards.StagingFile(str(folder))
    staged = [staging.append(key, RECORDS[key]) for key in keys]
    staging.close()
    return staged


def test_tensorflow_reads_a_shard_in_key_order(tmp_path):
    import tensorflow as tf

    keys = list(RECORDS)
    staged = stage(tmp_path, keys[::2]) + stage(tmp_path, keys[1::2])
    info = shards.write_shard(str(tmp_path), "s.tfrecord", staged, str(tmp_path))
    path = tmp_path / "s.tfrecord"
    read = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert read == [RECORDS[key] for key in sorted(RECORDS)]
    content = path.read_bytes()
    assert info.num_records == 20
    assert info.size_bytes == len(content)
    assert info.sha256 == hashlib.sha256(content).hexdigest()
    index = struct.unpack("<21Q", (tmp_path / "s.tfrecord.index").read_bytes())
    assert list(index) == shards.read_index(str(path))
    assert index[-1] == len(content)
    assert [shards.read_at(str(path), *index[i : i + 2]) for i in range(20)] == read
    assert [record for _, record in shards.read_records(str(path))] == read
    assert [offset for offset, _ in shards.read_records(str(path))] == list(index[:-1])


def test_the_bytes_do_not_depend_on_staging(tmp_path):
    for name, keys in (("a", list(RECORDS)), ("b", list(RECORDS)[::-1])):
        shards.write_shard(str(tmp_path), name, stage(tmp_path, keys), str(tmp_path))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "s"
    shards.write_shard(str(tmp_path), "s", stage(tmp_path, ["key 1", "key 2"]), str(tmp_path))
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :]
        )
        with pytest.raises(shards.DamagedRecordError, match="at byte"):
            list(shards.read_records(str(path)))
    path.write_bytes(content[:-1])
    with pytest.raises(shards.DamagedRecordError, match="cut record"):
        list(shards.read_records(str(path)))


def test_damaged_staging_and_repeated_keys_stop_the_shard(tmp_path):
    staged = stage(tmp_path, ["key 3"])
    with pytest.raises(ValueError, match="two records have the key key 3"):
        shards.write_shard(str(tmp_path), "s", staged * 2, str(tmp_path))
    with pytest.raises(shards.DamagedRecordError):
        shards.write_shard(str(tmp_path), "s", [staged[0]._replace(offset=8)], str(tmp_path))
    assert not (tmp_path / "s").exists()


def test_shard_assignment_is_stable_and_even():
    found = [shards.shard_of(f"clip {number}", 8) for number in range(8000)]
    assert all(900 < found.count(shard) < 1100 for shard in range(8))
    assert found[:4] == [shards.shard_of(f"clip {number}", 8) for number in range(4)]
