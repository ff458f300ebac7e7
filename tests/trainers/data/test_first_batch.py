"""Training on nothing, or on what is not meant, is refused before anything is compiled."""

import dataclasses
import gzip
import itertools
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipelines.record import contract
from mm_models.errors import UserError
from tests.trainers.data import inputs
from tests.trainers.data.prompted_records import input_config as prompted_config
from tests.trainers.data.prompted_records import write_folder
from tests.trainers.record_factory import Recipe, serialize, write_shard, write_word_vocabulary
from trainers.data import pipeline
from trainers.data.config import DatasetConfig
from trainers.data.first_batch import check_input
from trainers.data.opening import OpenedInput
from trainers.data.parts.labels.config import LabelsInputConfig

COUNT = 6
RECIPE = Recipe(num_frames=4, splits={"train": COUNT})
PIXELS = np.indices((32, 32)).repeat(2, axis=0)[:3].transpose(1, 2, 0).astype(np.uint8) * 4 + 60


def contents(change=None) -> list[bytes]:
    """Records of the factory, each changed by a function of the message."""
    found = []
    for number in range(COUNT):
        example = tf.train.SequenceExample.FromString(serialize(number, "train", RECIPE))
        if change:
            change(example)
        found.append(example.SerializeToString())
    return found


class Place:
    """A folder of TFRecord files and a vocabulary, and inputs that read them."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        write_word_vocabulary(folder / "words.txt")

    def write(self, records: list[bytes], name: str = "records.tfrecord") -> str:
        path = self.folder / name
        write_shard(str(path), records, with_index=False)
        return str(path)

    def config(self, records: list[bytes], parts=("video", "audio", "text", "labels"), **dataset):
        known = {
            "video": inputs.video_input(num_frames=2, height=16, width=16),
            "audio": inputs.audio_input(num_samples=1000),
            "text": inputs.text_input(self.folder),
            "labels": LabelsInputConfig(),
        }
        name = dataset.pop("name", "records.tfrecord")
        return inputs.input_config(
            "",
            datasets={"found": DatasetConfig(path=self.write(records, name), **dataset)},
            batch_size=4,
            **{part: known[part] for part in parts},
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("first"))


def refused(config, **options) -> str:
    with pytest.raises(UserError) as caught:
        check_input(config, "streams.s.input", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def first_batch(config):
    return pipeline.read_batch(OpenedInput.open(config), seed=0, training=True)


def frames(example):
    return example.feature_lists.feature_list[contract.FRAMES].feature


def put_frames(encode):
    def change(example):
        for frame in frames(example):
            frame.bytes_list.value[:] = [encode()]

    return change


def without(*keys):
    def change(example):
        for key in keys:
            example.context.feature.pop(key, None)
            example.feature_lists.feature_list.pop(key, None)

    return change


def youtube(example):
    example.Clear()
    example.context.feature["id"].bytes_list.value[:] = [b"abcd"]
    example.context.feature["labels"].int64_list.value[:] = [3]
    example.feature_lists.feature_list["rgb"].feature.add().bytes_list.value[:] = [b"\0\1" * 9]


def test_records_of_none_of_our_keys(place):
    message = refused(place.config(contents(youtube)))
    assert message.startswith(f"streams.s.input.video: none of the {COUNT} records looked at in ")
    assert "because they have no 'image/encoded'" in message
    held = "the records, in the layout of YouTube-8M, hold 'id' (text), 'labels' (int64), 'rgb'"
    assert held in message
    assert "set streams.s.input.video to null, or put video into" in message
    assert "streams.s.input.datasets.found.may_lack" in message


def test_records_that_are_none(place):
    message = refused(place.config([b"a line of text"] * COUNT))
    assert "the records are no tf.train.Example or SequenceExample" in message


PARTS = {
    "video": (contract.FRAMES,),
    "audio": (contract.WAVEFORM_FLOATS,),
    "text": (contract.CAPTION,),
    "labels": (contract.LABEL_INDEX,),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_no_record_has(place, part, training):
    records = contents(without(*PARTS[part]))
    message = refused(place.config(records), training=training)
    assert f"streams.s.input.{part}: none of the" in message and repr(PARTS[part][0]) in message
    allowed = place.config(records, may_lack=[part])
    lines = check_input(allowed, training=training)
    assert f"{part} 0%" in lines[0]


@pytest.mark.parametrize(
    ("dataset", "pieces"),
    [
        (
            {"caption_languages": ["xx"]},
            ["caption_languages is ['xx'] and theirs are 'en', 'de'"],
        ),
        (
            {"caption_styles": ["sung"]},
            ["caption_styles is ['sung'] and theirs are 'single', 'full'"],
        ),
        (
            {"feature_names": {contract.CAPTION: "words"}},
            ["feature_names maps 'caption/string' to 'words', which none of", "'caption/string' ("],
        ),
        (
            {"feature_names": {contract.FRAMES: contract.CAPTION}},
            ["video reads JPEG or PNG or GIF from 'caption/string', which holds text"],
        ),
        (
            {"feature_names": {contract.LABEL_INDEX: contract.LABEL_TEXT}},
            ["labels reads int64 from 'clip/label/text', which holds text"],
        ),
    ],
    ids=["language", "style", "key", "content", "dtype"],
)
def test_filters_and_keys_that_nothing_answers(place, dataset, pieces):
    message = refused(place.config(contents(), **dataset))
    assert all(piece in message for piece in pieces), message


def test_what_one_in_a_thousand_records_has_is_found(place):
    plain = contents(without(contract.CAPTION))[0]
    records = [plain] * 200
    records[1] = contents()[0]
    assert check_input(place.config(records))[0].endswith("text 0%, labels 100%")


def test_labels_beyond_the_classes(place):
    message = refused(place.config(contents()), num_classes=COUNT - 1)
    assert f"labels, in {place.folder}" in message
    assert f"class {COUNT - 1}, and only {COUNT - 1} classes" in message
    check_input(place.config(contents()), num_classes=COUNT)


def as_wav(example):
    without(contract.WAVEFORM_FLOATS)(example)
    sound = tf.audio.encode_wav(np.zeros((2000, 1), np.float32), 8000).numpy()
    steps = example.feature_lists.feature_list[contract.WAVEFORM_PCM16].feature
    steps.add().bytes_list.value[:] = [sound]


def faster(example):
    example.context.feature[contract.SAMPLE_RATE].int64_list.value[:] = [44100]


def louder(factor):
    def change(example):
        (step,) = example.feature_lists.feature_list[contract.WAVEFORM_FLOATS].feature
        step.float_list.value[:] = [factor * value for value in step.float_list.value]

    return change


def foreign_words(example):
    values = example.context.feature[contract.CAPTION].bytes_list.value
    values[:] = [b"unheard of"] * len(values)


def black():
    return tf.io.encode_jpeg(np.zeros((32, 32, 3), np.uint8)).numpy()


def bmp():
    return b"BM" + b"\x36\0\0\0" + bytes(50)


@pytest.mark.parametrize(
    ("change", "piece", "allowed"),
    [
        (put_frames(black), "every picture is of one colour", "video.may_be_constant"),
        (louder(0.0), "every sound is silent", "audio.may_be_silent"),
        (foreign_words, "has none of the words", "text.may_be_unknown"),
        (louder(32768.0), "samples are as large as 1.638e+04", ""),
        (faster, "sound is stored at 44100 Hz and the input asks for sample_rate_hz 8000", ""),
        (as_wav, "from 'WAVEFORM/encoded', which holds WAV", ""),
        (put_frames(bmp), "reads JPEG or PNG or GIF from 'image/encoded', which holds BMP", ""),
    ],
    ids=["constant", "silent", "unknown", "unit", "rate", "wav", "bmp"],
)
def test_what_nothing_can_be_learned_from(place, change, piece, allowed):
    config = place.config(contents(change))
    message = refused(config)
    assert piece in message
    if allowed:
        part, field = allowed.split(".")
        assert f"set streams.s.input.{allowed} to true" in message
        setattr(getattr(config, part), field, True)
        check_input(config)


@pytest.mark.parametrize("crop", ["inception", "vgg", "random", "center", "resize"])
def test_png_frames_are_read_as_jpegs_are(place, crop):
    def shown(records):
        config = place.config(records, ("video",))
        config.video = dataclasses.replace(config.video, crop=crop)
        return first_batch(config)["video"]

    def png():
        return tf.io.encode_png(PIXELS).numpy()

    def jpeg():
        return tf.io.encode_jpeg(PIXELS, quality=100, chroma_downsampling=False).numpy()

    difference = shown(contents(put_frames(png))) - shown(contents(put_frames(jpeg)))
    assert 0 < np.abs(difference).max() < 0.1


def test_a_clip_of_frames_of_different_sizes_is_named(place):
    def change(example):
        small = tf.io.encode_jpeg(PIXELS[:20, :20]).numpy()
        for frame in frames(example)[1:]:
            frame.bytes_list.value[:] = [small]

    message = refused(place.config(contents(change), ("video",)))
    assert "'train/0000" in message and "its frames differ in size" in message


def test_sound_of_a_plain_example_is_read(place):
    def flat(example):
        floats = example.feature_lists.feature_list[contract.WAVEFORM_FLOATS].feature[0]
        values = list(floats.float_list.value)
        without(contract.WAVEFORM_FLOATS)(example)
        example.context.feature[contract.WAVEFORM_FLOATS].float_list.value[:] = values

    batch = first_batch(place.config(contents(flat), ("audio",)))
    assert batch["audio_mask"].all() and batch["audio"].std() > 0.1


def test_compressed_files_say_so(place):
    plain = pathlib.Path(place.write(contents(), "plain.tfrecord")).read_bytes()
    for name in ("packed.tfrecord", "packed.tfrecord.gz"):
        (place.folder / name).write_bytes(gzip.compress(plain))
        config = place.config(contents(), ("video",))
        config.datasets["found"].path = str(place.folder / name)
        message = refused(config)
        assert re.search(rf"shard \S+{name} is compressed with gzip .* \(`gzip -d <", message)


def test_any_file_is_a_shard(place):
    config = place.config(contents(), name="train-00000-of-00001")
    assert check_input(config)[0].startswith(f"  found: of {COUNT} records, video 100%")


def test_an_unknown_part_may_not_be_missing(place):
    message = refused(place.config(contents(), may_lack=["vidoe"]))
    assert "datasets.found.may_lack" in message and "'vidoe'" in message


def test_prompts_tell_what_the_records_hold(tmp_path):
    folder = write_folder(tmp_path / "records")
    config = prompted_config(folder, {"captioning": {"caption_styles": ["sung"]}})
    message = refused(config)
    assert "caption_styles sung" in message and "'caption/style' (text)" in message
    good = prompted_config(folder, {"captioning": {"caption_styles": ["canonical"]}}, "test")
    assert "prompted of 8 rows: input ids in use" in check_input(good, training=False)[-1]


KEYS = [*itertools.chain(*PARTS.values()), contract.WAVEFORM_PCM16, contract.CAPTION_LANGUAGE]
VALUES = st.one_of(
    st.lists(st.sampled_from([b"", b"\0", b"words", black(), bmp(), b"\xff\xd8\xff"]), max_size=3),
    st.lists(st.integers(-3, 2**40), max_size=3),
    st.lists(st.floats(width=32), max_size=3),
)
RECORDS = st.dictionaries(st.sampled_from(KEYS), st.tuples(st.booleans(), VALUES))


def message_of(record) -> bytes:
    example = tf.train.SequenceExample()
    for key, (in_list, values) in record.items():
        feature = example.context.feature[key]
        if in_list:
            del example.context.feature[key]
            feature = example.feature_lists.feature_list[key].feature.add()
        kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
        if values:
            getattr(feature, kind[type(values[0])]).value[:] = values
    return example.SerializeToString()


@settings(max_examples=20, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=3), st.booleans())
def test_whatever_records_hold_is_lines_or_one_sentence(place, records, training):
    config = place.config([message_of(record) for record in records])
    config.video.may_be_constant = config.audio.may_be_silent = config.text.may_be_unknown = True
    config.datasets["found"].may_lack = [*PARTS]
    try:
        assert check_input(config, training=training)
    except UserError as error:
        assert "\n" not in str(error)
