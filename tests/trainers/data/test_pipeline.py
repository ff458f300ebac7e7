import collections

import numpy as np
import pytest
import tensorflow as tf

from tests.trainers.data import inputs
from tests.trainers.record_factory import (
    WORDS,
    Recipe,
    captions,
    frame_pixels,
    waveform,
    write_record_folder,
    write_word_vocabulary,
)
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.pipeline import build_train_dataset

FRAME_RATE_HZ = 8.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    write_word_vocabulary(path / "words.txt")
    recipe = Recipe(splits={"train": 24, "test": 10}, sound="ramp", num_shards=3)
    return write_record_folder(path, recipe)


def _full(folder, split="train"):
    return inputs.input_config(
        folder,
        split,
        video=inputs.video_input(crop="inception", flip=True, color_jitter_probability=0.5),
        audio=inputs.audio_input(noise_std_share=0.01),
        text=inputs.text_input(folder, random_candidates=True),
        labels=LabelsInputConfig(num_labels=2),
    )


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
    batches = inputs.training_batches(config, 7)
    assert not np.array_equal(batches[0]["video"], batches[3]["video"])
    for start, again in (
        (0, inputs.training_batches(config, 2)),
        (5, inputs.training_batches(config, 2, start_step=5)),
    ):
        for offset, batch in enumerate(again):
            for name, value in batch.items():
                np.testing.assert_array_equal(value, batches[start + offset][name], name)
    other = inputs.training_batches(config, 1, seed=8)[0]
    assert not np.array_equal(other["example_id"], batches[0]["example_id"])
    assert len(inputs.training_batches(config, 1, start_step=1_000_000)[0]["example_id"]) == 8


@pytest.mark.parametrize(("hosts", "replicas"), [(1, 2), (4, 4), (2, 4)])
def test_hosts_and_replicas_share_the_same_global_batches(folder, hosts, replicas):
    config = inputs.input_config(folder, video=inputs.video_input(crop="random"))
    whole = inputs.training_batches(config, 2, start_step=3)
    parts = []
    for host in range(hosts):
        context = tf.distribute.InputContext(hosts, host, replicas)
        parts.append(
            inputs.training_batches(
                config, 2 * replicas // hosts, start_step=3, input_context=context
            )
        )
    for step in range(2):
        per_host = replicas // hosts
        rows = [batch for part in parts for batch in part[step * per_host :][:per_host]]
        for name in ("example_id", "video"):
            joined = np.concatenate([batch[name] for batch in rows])
            np.testing.assert_array_equal(joined, whole[step][name])


def test_epochs_cover_every_record(folder):
    config = inputs.input_config(folder, text=inputs.text_input(folder))
    ids = np.concatenate([batch["example_id"] for batch in inputs.training_batches(config, 6)])
    assert sorted(ids[:24]) == list(range(24)) and sorted(ids[24:]) == list(range(24))


def test_pixels_labels_and_words_are_those_of_the_record(folder):
    config = inputs.input_config(
        folder,
        video=inputs.video_input(),
        text=inputs.text_input(folder),
        labels=LabelsInputConfig(num_labels=2),
    )
    batch = inputs.training_batches(config, 1)[0]
    with open(f"{folder}/words.txt") as file:
        words = file.read().split()
    for row, record in enumerate(batch["example_id"]):
        label = int(record) % 10
        assert batch["label"][row].tolist() == [label, -1]
        shown = [words[token] for token in batch["text"][row, 0] if token]
        assert shown == captions(label)[0][0].split() == [WORDS[label]]
        for frame, number in enumerate(inputs.frame_numbers(batch["video"][row])):
            pixels = (batch["video"][row, frame] + 1) * 127.5
            difference = np.abs(pixels - frame_pixels(number, label, 32, 32))
            # JPEG at quality 95, away from the edge between the two halves.
            assert difference[:, :12].max() < 8 and difference[:, 20:].max() < 8


def test_windows_are_evenly_spaced_and_start_everywhere(folder):
    config = inputs.input_config(folder, video=inputs.video_input())
    numbers = np.concatenate(
        [inputs.frame_numbers(batch["video"]) for batch in inputs.training_batches(config, 12)]
    )
    assert (np.diff(numbers, axis=1) == 2).all()
    # 17 frames, the last of the four at most the 17th: offsets 0..10.
    assert set(numbers[:, 0]) == set(range(11))


@pytest.mark.parametrize("synchronised", [True, False])
def test_sound_and_picture_start_together(folder, synchronised):
    config = inputs.input_config(
        folder,
        video=inputs.video_input(),
        audio=inputs.audio_input(follow_video=synchronised),
    )
    differences = []
    for batch in inputs.training_batches(config, 6):
        video_seconds = inputs.frame_numbers(batch["video"])[:, 0] / FRAME_RATE_HZ
        # The ramp rises from -0.5 to 0.5 over the clip of 17 frames.
        audio_seconds = (batch["audio"][:, 0] + 0.5) * 17 / FRAME_RATE_HZ
        differences.extend(np.abs(video_seconds - audio_seconds))
    largest_frames = max(differences) * FRAME_RATE_HZ
    assert (largest_frames < 0.02) if synchronised else (largest_frames > 3)


def test_sound_is_the_stored_sound_from_there_on_and_goes_round(folder):
    stored = waveform(0, Recipe(sound="ramp"))
    batch = inputs.training_batches(
        inputs.input_config(folder, audio=inputs.audio_input(num_samples=20_000)), 1
    )[0]
    for samples in batch["audio"]:
        start = int(np.argmin(np.abs(stored - samples[0])))
        np.testing.assert_allclose(
            samples, np.tile(stored, 3)[start : start + 20_000], atol=1e-6, rtol=1e-4
        )
    strided = inputs.audio_input(num_samples=500, sample_rate_hz=2000, sample_stride=4)
    step = np.diff(
        inputs.training_batches(inputs.input_config(folder, audio=strided), 1)[0]["audio"], axis=1
    )
    np.testing.assert_allclose(step, 4 / (len(stored) - 1), rtol=0.01)


def test_pcm_reads_like_floats(folder, tmp_path):
    recipe = Recipe(splits={"train": 24}, sound="ramp", audio_encoding="pcm16", num_shards=3)
    other = write_record_folder(tmp_path, recipe)
    floats, pcm = (
        inputs.training_batches(inputs.input_config(path, audio=inputs.audio_input()), 1)[0]
        for path in (folder, other)
    )
    np.testing.assert_array_equal(floats["example_id"], pcm["example_id"])
    np.testing.assert_allclose(floats["audio"], pcm["audio"], atol=1 / 32768)
    assert pcm["audio_mask"].tolist() == [1.0] * 8


def test_audio_noise_is_one_percent_of_the_largest_sample(folder):
    clean, noisy = (
        inputs.training_batches(
            inputs.input_config(folder, audio=inputs.audio_input(noise_std_share=share)), 1
        )[0]["audio"]
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
    config = inputs.input_config(
        folder,
        video=inputs.video_input(),
        audio=inputs.audio_input(),
        text=inputs.text_input(folder),
        batch_size=12,
    )
    batch = inputs.training_batches(config, 1)[0]
    records = batch["example_id"]
    for name, every in (("video", 2), ("audio", 3), ("text", 4)):
        there = records % every != every - 1
        np.testing.assert_array_equal(batch[f"{name}_mask"], there.astype(np.float32))
        content = np.abs(batch[name]).reshape(12, -1).max(axis=1)
        np.testing.assert_array_equal(content > 0, there)


def test_captions_are_filtered_by_style_and_language(folder):
    def texts(**fields):
        config = inputs.input_config(folder, text=inputs.text_input(folder, num_candidates=3))
        for name, value in fields.items():
            setattr(config.datasets["synthetic"], name, value)
        batch = inputs.training_batches(config, 1)[0]
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
    config = inputs.input_config(
        folder, text=inputs.text_input(folder, num_candidates=1, random_candidates=True)
    )
    batches = inputs.training_batches(config, 10)
    lengths = collections.Counter(
        int(count) for batch in batches for count in (batch["text"] > 0).sum(axis=-1).ravel()
    )
    # Two captions of one word, one of three, one of five.
    assert set(lengths) == {1, 3, 5} and 25 <= lengths[1] <= 55
