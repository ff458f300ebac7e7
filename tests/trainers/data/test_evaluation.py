import numpy as np
import pytest
import tensorflow as tf

from tests.trainers.data import inputs
from tests.trainers.record_factory import (
    Recipe,
    write_record_folder,
    write_word_vocabulary,
)
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.pipeline import build_eval_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    write_word_vocabulary(path / "words.txt")
    recipe = Recipe(splits={"train": 24, "test": 10}, sound="ramp", num_shards=3)
    return write_record_folder(path, recipe)


def test_evaluation_reads_every_record_once_in_order(folder):
    config = inputs.input_config(
        folder,
        "test",
        video=inputs.video_input(),
        text=inputs.text_input(folder),
        labels=LabelsInputConfig(),
    )
    batches = list(build_eval_dataset(config).as_numpy_iterator())
    assert len(build_eval_dataset(config)) == len(batches) == 2
    ids = np.concatenate([batch["example_id"] for batch in batches])
    assert ids.tolist() == [*range(10), *[-1] * 6]
    last = batches[1]
    for name in ("example_mask", "video_mask", "text_mask"):
        assert last[name].tolist() == [1.0, 1.0, *[0.0] * 6]
    assert not last["video"][2:].any() and not last["text"][2:].any()
    assert (last["label"][2:] == -1).all()
    # (17 - 4 * 2) // 2 = 4
    assert (inputs.frame_numbers(batches[0]["video"]) == [4, 6, 8, 10]).all()


def test_evaluation_is_split_over_hosts(folder):
    config = inputs.input_config(folder, "test", video=inputs.video_input())
    whole = np.concatenate([batch["example_id"] for batch in build_eval_dataset(config)])
    parts = [
        [
            batch["example_id"]
            for batch in build_eval_dataset(
                config, input_context=tf.distribute.InputContext(2, host, 2)
            )
        ]
        for host in range(2)
    ]
    joined = np.concatenate([np.concatenate(step) for step in zip(*parts, strict=True)])
    np.testing.assert_array_equal(joined, whole)


def test_views_are_windows_times_crops(tmp_path):
    recipe = Recipe(splits={"test": 3}, width=64, sound="ramp")
    folder = write_record_folder(tmp_path, recipe)
    video = inputs.video_input(num_windows=4, num_crops=3, frame_stride=1)
    config = inputs.input_config(
        folder, "test", video=video, audio=inputs.audio_input(), batch_size=3
    )
    batch = next(build_eval_dataset(config).as_numpy_iterator())
    assert batch["video"].shape == (3, 12, 4, 32, 32, 3) and batch["audio"].shape == (3, 12, 4000)
    # linspace(0, 13, 4), rounded down, each for three crops.
    starts = inputs.frame_numbers(batch["video"])[0, :, 0]
    assert starts.tolist() == [0] * 3 + [4] * 3 + [8] * 3 + [13] * 3
    blue = (batch["video"][0, :3, 0, 16, :, 2] + 1) * 127.5
    # Left crop dark, right crop bright, the centre half and half.
    assert (blue[0, :28] < 100).all() and (blue[2, 4:] > 140).all()
    assert (blue[1, :12] < 100).all() and (blue[1, 20:] > 140).all()
    audio_starts = batch["audio"][0, :, 0]
    assert (audio_starts.reshape(4, 3) == audio_starts[::3, np.newaxis]).all()
    assert (np.diff(audio_starts[::3]) > 0).all()


def test_windows_of_sound_alone(folder):
    config = inputs.input_config(folder, "test", audio=inputs.audio_input(num_windows=3))
    batch = next(build_eval_dataset(config).as_numpy_iterator())
    assert batch["audio"].shape == (8, 3, 4000)
    # 17,000 samples: starts 0, 6,500 and 13,000 on a ramp from -0.5 to 0.5.
    expected = np.array([0, 6500, 13_000]) / 16_999 - 0.5
    np.testing.assert_allclose(batch["audio"][0, :, 0], expected, atol=1e-5, rtol=1e-4)
