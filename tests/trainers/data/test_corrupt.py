import logging

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers.record_factory import Recipe, serialize, write_shard
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.data.pipeline import build_eval_dataset, build_train_dataset
from trainers.data.reading.errors import user_errors

NUM_RECORDS = 20
RECIPE = Recipe(num_frames=4, splits={"train": NUM_RECORDS})


def _bad_jpeg(content: bytes) -> bytes:
    example = tf.train.SequenceExample.FromString(content)
    for frame in example.feature_lists.feature_list["image/encoded"].feature:
        frame.bytes_list.value[0] = frame.bytes_list.value[0][:100]
    return example.SerializeToString()


def _bad_type(content: bytes) -> bytes:
    example = tf.train.SequenceExample.FromString(content)
    example.context.feature["clip/label/index"].bytes_list.value[:] = [b"three"]
    return example.SerializeToString()


def _write(folder, bad: dict[int, object]):
    """Writes a shard; `bad` maps record numbers to what damages them, None to a flipped byte."""
    contents = [serialize(number, "train", RECIPE) for number in range(NUM_RECORDS)]
    for number, damage in bad.items():
        contents[number] = damage(contents[number]) if damage else contents[number]
    path = folder / "train-00000-of-00001.tfrecord"
    offsets = write_shard(str(path), contents)
    raw = bytearray(path.read_bytes())
    for number, damage in bad.items():
        if damage is None:
            raw[offsets[number] + 50] ^= 1
    path.write_bytes(raw)
    return str(path), offsets


def _input(path, policy="fail", limit=0.5):
    dataset = DatasetConfig(path=path, corrupt_policy=policy, corrupt_share_limit=limit)
    return InputConfig(
        datasets={"synthetic": dataset},
        batch_size=5,
        video=VideoInputConfig(4, 1, 32, 32, "center", False, 0.0),
        audio=AudioInputConfig(1000, 8000),
        labels=LabelsInputConfig(),
    )


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (None, "content fails the checksum"),
        (_bad_jpeg, "JPEG"),
        (_bad_type, "clip/label/index"),
        (lambda content: b"\xff\xff\xff", "arse"),
    ],
    ids=["flipped_byte", "cut_jpeg", "wrong_type", "no_record"],
)
def test_a_corrupt_record_is_named(tmp_path, damage, reason):
    path, offsets = _write(tmp_path, {7: damage})
    batches = iter(build_eval_dataset(_input(path)))
    assert next(batches)["example_id"].numpy().tolist() == list(range(5))
    with pytest.raises(UserError) as caught, user_errors():
        next(batches)
    error = caught.value
    assert f"at offset {offsets[7]} of {path}" in str(error) and reason in str(error)
    if reason != "arse":
        assert "'train/000007#0'" in str(error)


def test_skipping_replaces_by_the_next_valid_record_of_the_order(tmp_path, caplog):
    bad = {3: None, 8: _bad_jpeg, 9: _bad_type}
    path, _ = _write(tmp_path, bad)
    with caplog.at_level(logging.WARNING):
        config = _input(path, "skip")
        ids = np.concatenate([batch["example_id"] for batch in build_eval_dataset(config)])
    assert ids.tolist() == [0, 1, 2, 4, 4, 5, 6, 7, 10, 10, *range(10, 20)]
    messages = [record.message for record in caplog.records if "skipped" in record.message]
    assert len(messages) == 3 and "'train/000008#0'" in " ".join(messages)
    assert "(3 of 20 records so far)" in messages[-1]


def test_skipping_keeps_batches_a_function_of_seed_and_step(tmp_path):
    path, _ = _write(tmp_path, {3: None, 8: _bad_jpeg})
    config = _input(path, "skip")
    batches = list(build_train_dataset(config, seed=1).take(8).as_numpy_iterator())
    resumed = list(build_train_dataset(config, seed=1, start_step=5).take(3).as_numpy_iterator())
    for batch, again in zip(batches[5:], resumed, strict=True):
        np.testing.assert_array_equal(batch["example_id"], again["example_id"])
        np.testing.assert_array_equal(batch["video"], again["video"])
    ids = np.concatenate([batch["example_id"] for batch in batches])
    assert len(ids) == 40 and not np.isin(ids, [3, 8]).any()


def test_too_many_corrupt_records_end_the_run(tmp_path):
    path, _ = _write(tmp_path, {3: None, 8: None})
    with pytest.raises(UserError) as caught, user_errors():
        list(build_eval_dataset(_input(path, "skip", limit=0.05)))
    message = str(caught.value)
    assert "2 of 20 records" in message and "corrupt_share_limit" in message


def test_errors_that_are_not_the_users_stay_what_they_are():
    others = (ValueError("x"), tf.errors.InternalError(None, None, "x"), UserError("y"))
    for other in others:
        with pytest.raises(type(other)) as caught, user_errors():
            raise other
        assert caught.value is other
