"""Stills: inputs of one frame, from records of videos and of pictures."""

import numpy as np
import pytest
import tensorflow as tf

from beam_pipelines.record import contract
from tests.trainers.data import inputs
from tests.trainers.record_factory import Recipe, serialize, write_record_folder
from trainers.data.pipeline import build_eval_dataset

STILL = {"num_frames": 1, "frame_stride": 1}


def test_a_still_of_a_video_is_any_frame_in_training_and_the_middle_one_in_evaluation(tmp_path):
    folder = write_record_folder(tmp_path, Recipe(splits={"train": 24, "test": 8}))
    config = inputs.input_config(folder, video=inputs.video_input(**STILL))
    batches = inputs.training_batches(config, 30)
    assert batches[0]["video"].shape == (8, 1, 32, 32, 3)
    shown = np.concatenate([inputs.frame_numbers(batch["video"])[:, 0] for batch in batches])
    counts = np.bincount(shown, minlength=17)
    assert len(counts) == 17 and counts.min() > 0 and counts.max() < 40
    config = inputs.input_config(folder, "test", video=inputs.video_input(**STILL))
    (batch,) = build_eval_dataset(config).as_numpy_iterator()
    assert (inputs.frame_numbers(batch["video"]) == 8).all()


def test_only_the_frame_that_is_shown_is_decoded(tmp_path):
    recipe = Recipe()
    with tf.io.TFRecordWriter(str(tmp_path / "test.tfrecord")) as writer:
        for number in range(4):
            example = tf.train.SequenceExample.FromString(serialize(number, "test", recipe))
            for place, frame in enumerate(
                example.feature_lists.feature_list[contract.FRAMES].feature
            ):
                if place != 8:
                    frame.bytes_list.value[0] = b"no JPEG"
            writer.write(example.SerializeToString())
    shards = f"{tmp_path}/test.tfrecord"
    config = inputs.input_config(shards, "test", video=inputs.video_input(**STILL), batch_size=4)
    (batch,) = build_eval_dataset(config).as_numpy_iterator()
    assert (inputs.frame_numbers(batch["video"]) == 8).all()
    clips = inputs.input_config(shards, "test", video=inputs.video_input(), batch_size=4)
    with pytest.raises(tf.errors.OpError, match="preprocess again"):
        list(build_eval_dataset(clips))


def test_a_picture_is_a_still_and_fills_a_clip(tmp_path):
    folder = write_record_folder(
        tmp_path, Recipe(splits={"train": 8, "test": 8}, num_frames=1, without_audio=1)
    )
    for num_frames in (1, 4):
        video = inputs.video_input(num_frames=num_frames)
        (batch,) = build_eval_dataset(inputs.input_config(folder, "test", video=video))
        frames = batch["video"].numpy()
        assert frames.shape == (8, num_frames, 32, 32, 3) and batch["video_mask"].numpy().all()
        np.testing.assert_array_equal(frames, np.repeat(frames[:, :1], num_frames, axis=1))
        (trained,) = inputs.training_batches(inputs.input_config(folder, video=video), 1)
        assert (inputs.frame_numbers(trained["video"]) == 0).all()
