import collections

import numpy as np
import pytest
import tensorflow as tf

from tests.trainers.record_factory import (
    WORDS,
    Recipe,
    captions,
    frame_pixels,
    waveform,
    write_record_folder,
    write_word_vocabulary,
)
from trainers.data.config import (
    AudioInputConfig,
    DatasetConfig,
    InputConfig,
    TextInputConfig,
    VideoInputConfig,
)
from trainers.data.pipeline import build_eval_dataset, build_train_dataset

FRAME_RATE_HZ = 8.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    write_word_vocabulary(path / "words.txt")
    recipe = Recipe(splits={"train": 24, "test": 10}, sound="ramp", num_shards=3)
    return write_record_folder(path, recipe)


def _video(**fields):
    plain = {"num_frames": 4, "frame_stride": 2, "height": 32, "width": 32}
    off = {"crop": "center", "flip": False, "color_jitter_probability": 0.0}
    return VideoInputConfig(**(plain | off | fields))


def _audio(**fields):
    return AudioInputConfig(
        **({"num_samples": 4000, "sample_rate_hz": 8000, "noise_std_share": 0.0} | fields)
    )


def _text(folder, **fields):
    words = {"vocabulary": f"{folder}/words.txt", "num_candidates": 2, "num_tokens": 6}
    return TextInputConfig(**(words | fields))


def _input(folder, split="train", **fields):
    datasets = {"synthetic": DatasetConfig(path=folder, split=split)}
    return InputConfig(**({"datasets": datasets, "batch_size": 8} | fields))


def _full(folder, split="train"):
    return _input(
        folder,
        split,
        video=_video(crop="inception", flip=True, color_jitter_probability=0.5),
        audio=_audio(noise_std_share=0.01),
        text=_text(folder, random_candidates=True),
        num_labels=2,
    )


def _take(config, count, **fields):
    dataset = build_train_dataset(config, **({"seed": 7} | fields))
    return list(dataset.take(count).as_numpy_iterator())


def _frame_numbers(video):
    """Frame numbers shown: int[..., frames], read back from the red of a top left pixel."""
    red = (video[..., 2, 2, 0] + 1) * 127.5
    return np.rint((red - 20) / 12).astype(int)


def test_shapes_and_types(folder):
    dataset = build_train_dataset(_full(folder), seed=1)
    expected = {
        "video": ((8, 4, 32, 32, 3), tf.float32),
        "video_mask": ((8,), tf.float32),
        "audio": ((8, 4000), tf.float32),
        "audio_mask": ((8,), tf.float32),
        "text": ((8, 2, 6), tf.int32),
        "text_mask": ((8,), tf.float32),
        "text_candidate_mask": ((8, 2), tf.float32),
        "label": ((8, 2), tf.int32),
        "example_id": ((8,), tf.int64),
        "example_mask": ((8,), tf.float32),
    }
    found = {name: (tuple(spec.shape), spec.dtype) for name, spec in dataset.element_spec.items()}
    assert found == expected


def test_batches_are_a_function_of_seed_and_step(folder):
    config = _full(folder)
    batches = _take(config, 7)
    assert not np.array_equal(batches[0]["video"], batches[3]["video"])
    for start, again in ((0, _take(config, 2)), (5, _take(config, 2, start_step=5))):
        for offset, batch in enumerate(again):
            for name, value in batch.items():
                np.testing.assert_array_equal(value, batches[start + offset][name], name)
    other = _take(config, 1, seed=8)[0]
    assert not np.array_equal(other["example_id"], batches[0]["example_id"])
    assert len(_take(config, 1, start_step=1_000_000)[0]["example_id"]) == 8


@pytest.mark.parametrize(("hosts", "replicas"), [(1, 2), (4, 4), (2, 4)])
def test_hosts_and_replicas_share_the_same_global_batches(folder, hosts, replicas):
    config = _input(folder, video=_video(crop="random"))
    whole = _take(config, 2, start_step=3)
    parts = []
    for host in range(hosts):
        context = tf.distribute.InputContext(hosts, host, replicas)
        parts.append(_take(config, 2 * replicas // hosts, start_step=3, input_context=context))
    for step in range(2):
        per_host = replicas // hosts
        rows = [batch for part in parts for batch in part[step * per_host :][:per_host]]
        for name in ("example_id", "video"):
            joined = np.concatenate([batch[name] for batch in rows])
            np.testing.assert_array_equal(joined, whole[step][name])


def test_epochs_cover_every_record(folder):
    config = _input(folder, text=_text(folder))
    ids = np.concatenate([batch["example_id"] for batch in _take(config, 6)])
    assert sorted(ids[:24]) == list(range(24)) and sorted(ids[24:]) == list(range(24))


def test_pixels_labels_and_words_are_those_of_the_record(folder):
    config = _input(folder, video=_video(), text=_text(folder), num_labels=2)
    batch = _take(config, 1)[0]
    with open(f"{folder}/words.txt") as file:
        words = file.read().split()
    for row, record in enumerate(batch["example_id"]):
        label = int(record) % 10
        assert batch["label"][row].tolist() == [label, -1]
        shown = [words[token] for token in batch["text"][row, 0] if token]
        assert shown == captions(label)[0][0].split() == [WORDS[label]]
        for frame, number in enumerate(_frame_numbers(batch["video"][row])):
            pixels = (batch["video"][row, frame] + 1) * 127.5
            difference = np.abs(pixels - frame_pixels(number, label, 32, 32))
            # JPEG at quality 95, away from the edge between the two halves.
            assert difference[:, :12].max() < 8 and difference[:, 20:].max() < 8


def test_windows_are_evenly_spaced_and_start_everywhere(folder):
    config = _input(folder, video=_video())
    numbers = np.concatenate([_frame_numbers(batch["video"]) for batch in _take(config, 12)])
    assert (np.diff(numbers, axis=1) == 2).all()
    # 17 frames, the last of the four at most the 17th: offsets 0..10.
    assert set(numbers[:, 0]) == set(range(11))


@pytest.mark.parametrize("synchronised", [True, False])
def test_sound_and_picture_start_together(folder, synchronised):
    config = _input(folder, video=_video(), audio=_audio(), sync_audio_video=synchronised)
    differences = []
    for batch in _take(config, 6):
        video_seconds = _frame_numbers(batch["video"])[:, 0] / FRAME_RATE_HZ
        # The ramp rises from -0.5 to 0.5 over the clip of 17 frames.
        audio_seconds = (batch["audio"][:, 0] + 0.5) * 17 / FRAME_RATE_HZ
        differences.extend(np.abs(video_seconds - audio_seconds))
    largest_frames = max(differences) * FRAME_RATE_HZ
    assert (largest_frames < 0.02) if synchronised else (largest_frames > 3)


def test_sound_is_the_stored_sound_from_there_on_and_goes_round(folder):
    stored = waveform(0, Recipe(sound="ramp"))
    batch = _take(_input(folder, audio=_audio(num_samples=20_000)), 1)[0]
    for samples in batch["audio"]:
        start = int(np.argmin(np.abs(stored - samples[0])))
        np.testing.assert_allclose(samples, np.tile(stored, 3)[start : start + 20_000], atol=1e-6)
    strided = _audio(num_samples=500, sample_rate_hz=2000, sample_stride=4)
    step = np.diff(_take(_input(folder, audio=strided), 1)[0]["audio"], axis=1)
    np.testing.assert_allclose(step, 4 / (len(stored) - 1), rtol=0.01)


def test_pcm_reads_like_floats(folder, tmp_path):
    recipe = Recipe(splits={"train": 24}, sound="ramp", audio_encoding="pcm16", num_shards=3)
    other = write_record_folder(tmp_path, recipe)
    floats, pcm = (_take(_input(path, audio=_audio()), 1)[0] for path in (folder, other))
    np.testing.assert_array_equal(floats["example_id"], pcm["example_id"])
    np.testing.assert_allclose(floats["audio"], pcm["audio"], atol=1 / 32768)
    assert pcm["audio_mask"].tolist() == [1.0] * 8


def test_audio_noise_is_one_percent_of_the_largest_sample(folder):
    clean, noisy = (
        _take(_input(folder, audio=_audio(noise_std_share=share)), 1)[0]["audio"]
        for share in (0.0, 0.01)
    )
    noise = noisy - clean
    expected = 0.01 * np.abs(clean).max(axis=1)
    np.testing.assert_allclose(noise.std(axis=1), expected, rtol=0.08)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.1


def test_missing_modalities_are_zeros_with_mask_zero(tmp_path):
    write_word_vocabulary(tmp_path / "words.txt")
    recipe = Recipe(
        splits={"train": 12}, without_video=2, without_audio=3, without_captions=4, num_frames=5
    )
    folder = write_record_folder(tmp_path, recipe)
    config = _input(folder, video=_video(), audio=_audio(), text=_text(folder), batch_size=12)
    batch = _take(config, 1)[0]
    records = batch["example_id"]
    for name, every in (("video", 2), ("audio", 3), ("text", 4)):
        there = records % every != every - 1
        np.testing.assert_array_equal(batch[f"{name}_mask"], there.astype(np.float32))
        content = np.abs(batch[name]).reshape(12, -1).max(axis=1)
        np.testing.assert_array_equal(content > 0, there)


def test_captions_are_filtered_by_style_and_language(folder):
    def texts(**fields):
        config = _input(folder, text=_text(folder, num_candidates=3))
        for name, value in fields.items():
            setattr(config.datasets["synthetic"], name, value)
        batch = _take(config, 1)[0]
        return batch["text_candidate_mask"].sum(axis=1).tolist(), batch["text"]

    counts, everything = texts()
    assert counts == [3.0] * 8
    counts, german = texts(caption_languages=["de"])
    assert counts == [1.0] * 8
    np.testing.assert_array_equal(german[:, 0], everything[:, 2])
    counts, full = texts(caption_styles=["full"], caption_languages=["en", "de"])
    assert counts == [2.0] * 8
    np.testing.assert_array_equal(full[:, 0], everything[:, 1])
    counts, none = texts(caption_styles=["poem"])
    assert counts == [0.0] * 8 and not none.any()


def test_random_candidates_draw_every_caption(folder):
    config = _input(folder, text=_text(folder, num_candidates=1, random_candidates=True))
    batches = _take(config, 10)
    lengths = collections.Counter(
        int(count) for batch in batches for count in (batch["text"] > 0).sum(axis=-1).ravel()
    )
    # Two captions of one word, one of three, one of five.
    assert set(lengths) == {1, 3, 5} and 25 <= lengths[1] <= 55


def test_evaluation_reads_every_record_once_in_order(folder):
    config = _input(folder, "test", video=_video(), text=_text(folder), num_labels=1)
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
    assert (_frame_numbers(batches[0]["video"]) == [4, 6, 8, 10]).all()


def test_evaluation_is_split_over_hosts(folder):
    config = _input(folder, "test", video=_video())
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
    video = _video(num_windows=4, num_crops=3, frame_stride=1)
    config = _input(folder, "test", video=video, audio=_audio(), batch_size=3)
    batch = next(build_eval_dataset(config).as_numpy_iterator())
    assert batch["video"].shape == (3, 12, 4, 32, 32, 3) and batch["audio"].shape == (3, 12, 4000)
    # linspace(0, 13, 4), rounded down, each for three crops.
    starts = _frame_numbers(batch["video"])[0, :, 0]
    assert starts.tolist() == [0] * 3 + [4] * 3 + [8] * 3 + [13] * 3
    blue = (batch["video"][0, :3, 0, 16, :, 2] + 1) * 127.5
    # Left crop dark, right crop bright, the centre half and half.
    assert (blue[0, :28] < 100).all() and (blue[2, 4:] > 140).all()
    assert (blue[1, :12] < 100).all() and (blue[1, 20:] > 140).all()
    audio_starts = batch["audio"][0, :, 0]
    assert (audio_starts.reshape(4, 3) == audio_starts[::3, np.newaxis]).all()
    assert (np.diff(audio_starts[::3]) > 0).all()


def test_windows_of_sound_alone(folder):
    config = _input(folder, "test", audio=_audio(num_windows=3))
    batch = next(build_eval_dataset(config).as_numpy_iterator())
    assert batch["audio"].shape == (8, 3, 4000)
    # 17,000 samples: starts 0, 6,500 and 13,000 on a ramp from -0.5 to 0.5.
    expected = np.array([0, 6500, 13_000]) / 16_999 - 0.5
    np.testing.assert_allclose(batch["audio"][0, :, 0], expected, atol=1e-5)


def test_mixtures_parse_each_data_set_by_its_own_names(folder, tmp_path):
    names = {
        "clip/label/index": "label/index",
        "clip/label/text": "label/text",
        "WAVEFORM/feature/floats": "waveform/floats",
        "image/encoded": "frames",
    }
    recipe = Recipe(splits={"train": 16}, key_names=names, with_info=False, sound="ramp")
    foreign = write_record_folder(tmp_path, recipe)
    config = _input(folder, video=_video(), audio=_audio(), num_labels=1, batch_size=16)
    config.datasets["foreign"] = DatasetConfig(
        path=f"{foreign}/train-*", weight=3.0, feature_names=names, caption_styles=["full"]
    )
    batches = _take(config, 8)
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
    config = _input(path, video=_video(), num_labels=1, batch_size=4)
    batch = _take(config, 1)[0]
    assert batch["video_mask"].all() and sorted(batch["label"][:, 0]) == [0, 1, 2, 3]
    # One frame, repeated to fill the window.
    assert (batch["video"] == batch["video"][:, :1]).all()


def test_remote_folders():
    recipe = Recipe(splits={"train": 8}, num_frames=4)
    folder = write_record_folder("ram://pipeline/records", recipe)
    write_word_vocabulary(f"{folder}/words.txt")
    config = _input(folder, video=_video(), text=_text(folder))
    assert sorted(_take(config, 1)[0]["example_id"]) == list(range(8))


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
    config = _input(folder, **{part: _video(num_frames=2) if part == "video" else _text(folder)})
    before = _take(config, 1)[0][part]
    setattr(getattr(config, part), field, value)
    if value == "wordpiece":
        config.text.vocabulary = str(path / "pieces.txt")
    after = _take(config, 1)[0][part]
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
        _input(folder, text=_text(folder), num_parallel_calls=3, prefetch_batches=5), seed=0
    )
    assert seen == {"parallel": 3, "prefetch": 5}
