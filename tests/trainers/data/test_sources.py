import numpy as np
import pytest
import tensorflow as tf

from tests.trainers.data import inputs
from tests.trainers.record_factory import (
    Recipe,
    frame_pixels,
    write_record_folder,
    write_word_vocabulary,
)
from trainers.data.config import DatasetConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.pipeline import build_train_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    write_word_vocabulary(path / "words.txt")
    recipe = Recipe(splits={"train": 24, "test": 10}, sound="ramp", num_shards=3)
    return write_record_folder(path, recipe)


def test_mixtures_parse_each_data_set_by_its_own_names(folder, tmp_path):
    names = {
        "clip/label/index": "label/index",
        "clip/label/text": "label/text",
        "WAVEFORM/feature/floats": "waveform/floats",
        "image/encoded": "frames",
    }
    recipe = Recipe(splits={"train": 16}, key_names=names, with_info=False, sound="ramp")
    foreign = write_record_folder(tmp_path, recipe)
    config = inputs.input_config(
        folder,
        video=inputs.video_input(),
        audio=inputs.audio_input(),
        labels=LabelsInputConfig(),
        batch_size=16,
    )
    config.datasets["foreign"] = DatasetConfig(
        path=f"{foreign}/train-*", weight=3.0, feature_names=names, caption_styles=["full"]
    )
    batches = inputs.training_batches(config, 8)
    ids = np.concatenate([batch["example_id"] for batch in batches])
    dataset, record = np.divmod(ids, 2**40)
    assert abs((dataset == 1).mean() - 0.75) < 0.02
    labels = np.concatenate([batch["label"][:, 0] for batch in batches])
    np.testing.assert_array_equal(labels, record % 10)
    video = np.concatenate([batch["video"] for batch in batches])
    green = (video[:, 0, 2, 2, 1] + 1) * 127.5
    np.testing.assert_allclose(green, 20 + 20 * labels, atol=8)
    assert all(batch["audio_mask"].all() and batch["video_mask"].all() for batch in batches)


def test_single_images_as_plain_examples(tmp_path):
    path = str(tmp_path / "images.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for label in range(4):
            example = tf.train.Example()
            encoded = tf.io.encode_jpeg(frame_pixels(3, label, 40, 48)).numpy()
            example.features.feature["image/encoded"].bytes_list.value[:] = [encoded]
            example.features.feature["clip/label/index"].int64_list.value[:] = [label]
            writer.write(example.SerializeToString())
    config = inputs.input_config(
        path, video=inputs.video_input(), labels=LabelsInputConfig(), batch_size=4
    )
    batch = inputs.training_batches(config, 1)[0]
    assert batch["video_mask"].all() and sorted(batch["label"][:, 0]) == [0, 1, 2, 3]
    # One frame, repeated to fill the window.
    assert (batch["video"] == batch["video"][:, :1]).all()


def test_remote_folders():
    recipe = Recipe(splits={"train": 8}, num_frames=4)
    folder = write_record_folder("ram://pipeline/records", recipe)
    write_word_vocabulary(f"{folder}/words.txt")
    config = inputs.input_config(folder, video=inputs.video_input(), text=inputs.text_input(folder))
    assert sorted(inputs.training_batches(config, 1)[0]["example_id"]) == list(range(8))


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("video", "crop", "vgg"),
        ("video", "crop", "inception"),
        ("video", "crop", "random"),
        ("video", "crop", "resize"),
        ("video", "flip", True),
        ("video", "color_jitter_probability", 1.0),
        ("text", "tokenizer", "wordpiece"),
    ],
)
def test_these_fields_change_the_batch(tmp_path_factory, part, field, value):
    path = tmp_path_factory.mktemp("wide")
    folder = write_record_folder(path, Recipe(splits={"train": 8}, num_frames=2, width=48))
    pieces = ["[PAD]", "[UNK]", *(f"##{letter}" for letter in "aeghinortuvwxz"), *"efnostz"]
    (path / "pieces.txt").write_text("\n".join(pieces) + "\n")
    write_word_vocabulary(path / "words.txt")
    config = inputs.input_config(
        folder,
        **{
            part: inputs.video_input(num_frames=2) if part == "video" else inputs.text_input(folder)
        },
    )
    before = inputs.training_batches(config, 1)[0][part]
    setattr(getattr(config, part), field, value)
    if value == "wordpiece":
        config.text.vocabulary = str(path / "pieces.txt")
    after = inputs.training_batches(config, 1)[0][part]
    assert not np.array_equal(before, after)
    if part == "video":
        # Whatever the change, it is the same for both frames: their only difference is the red.
        shown = (after + 1) * 127.5
        assert value == 1.0 or np.abs(shown[:, 0, ..., 1:] - shown[:, 1, ..., 1:]).max() < 8


def test_parallelism_and_prefetching_are_as_configured(folder, monkeypatch):
    seen = {}
    real_map, real_prefetch = tf.data.Dataset.map, tf.data.Dataset.prefetch

    def spy_map(self, function, num_parallel_calls=None, **fields):
        seen.setdefault("parallel", num_parallel_calls)
        return real_map(self, function, num_parallel_calls=num_parallel_calls, **fields)

    def spy_prefetch(self, buffer_size):
        seen["prefetch"] = buffer_size
        return real_prefetch(self, buffer_size)

    monkeypatch.setattr(tf.data.Dataset, "map", spy_map)
    monkeypatch.setattr(tf.data.Dataset, "prefetch", spy_prefetch)
    build_train_dataset(
        inputs.input_config(
            folder, text=inputs.text_input(folder), num_parallel_calls=3, prefetch_batches=5
        ),
        seed=0,
    )
    assert seen == {"parallel": 3, "prefetch": 5}
