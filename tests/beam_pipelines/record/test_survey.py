"""What records of other programs hold is told without knowing their keys."""

import gzip
import io
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beam_pipelines.record import contract
from beam_pipelines.record.shards import frame
from beam_pipelines.record.survey import content_kind, layout, proposed_names, survey
from mmstack import main


def picture(kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(content, kind)
    return content.getvalue()


def example(**features) -> bytes:
    """A `tf.train.Example`; keys have `__` where records have a slash."""
    import tensorflow as tf

    message = tf.train.Example()
    for name, values in features.items():
        feature = message.features.feature[name.replace("__", "/")]
        if isinstance(values[0], bytes):
            feature.bytes_list.value[:] = values
        elif isinstance(values[0], float):
            feature.float_list.value[:] = values
        else:
            feature.int64_list.value[:] = values
    return message.SerializeToString()


SLIM = {
    "image__encoded": [picture("JPEG")],
    "image__format": [b"jpeg"],
    "image__class__label": [3],
    "image__class__text": [b"tench"],
}
TFDS = {"image": [picture("PNG")], "label": [7], "file_name": [b"a/b.png"]}
SOUNDS = {"audio": [0.1] * 500, "sampling_rate": [16000], "sentence": [b"good morning"]}
VQA = {"img": [picture("JPEG")], "question_text": [b"what is it?"], "answers": [b"a cat"]}


@pytest.mark.parametrize(
    ("features", "writer", "names"),
    [
        (
            SLIM,
            "the TF-Slim image converters",
            {contract.LABEL_INDEX: "image/class/label", contract.LABEL_TEXT: "image/class/text"},
        ),
        (
            TFDS,
            "TensorFlow Datasets",
            {
                contract.FRAMES: "image",
                contract.LABEL_INDEX: "label",
                contract.CLIP_KEY: "file_name",
            },
        ),
        (
            SOUNDS,
            "",
            {
                contract.WAVEFORM_FLOATS: "audio",
                contract.CAPTION: "sentence",
                contract.SAMPLE_RATE: "sampling_rate",
            },
        ),
        (
            VQA,
            "",
            {
                contract.FRAMES: "img",
                contract.QUESTION: "question_text",
                contract.ANSWER: "answers",
            },
        ),
    ],
    ids=["slim", "tfds", "sounds", "vqa"],
)
def test_names_are_proposed_by_content(features, writer, names):
    found = survey([example(**features)] * 3)
    assert layout(found.keys) == writer
    assert proposed_names(found.keys) == names


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WebP"])
def test_pictures_are_told_apart(kind):
    assert content_kind(picture(kind)) == kind


@given(st.text("abc déf中文\n", max_size=40))
def test_text_is_text(text):
    assert content_kind(text.encode()) == "text"


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_looked_at(contents):
    found = survey(contents)
    assert found.num_records == len(contents) and found.held()


def write(path, records) -> str:
    path.write_bytes(b"".join(map(frame, records)))
    return str(path)


def test_files_of_others_are_inspected(tmp_path, capsys):
    numbers = itertools.count()
    for name in ("train-00000-of-00002", "train-00001-of-00002"):
        records = [example(**{**TFDS, "label": [next(numbers) % 3]}) for _ in range(5)]
        write(tmp_path / name, records)
    for data in (tmp_path, tmp_path / "train-*", tmp_path / "train@2"):
        assert main(["inspect", f"--data={data}"]) == 0
        printed = capsys.readouterr().out
        assert f"{data}: 2 files\n10 records looked at, 7 of them equal to another one" in printed
        assert "the layout is that of TensorFlow Datasets" in printed
        assert "  image: 100% of the records, context, PNG\n" in printed
        assert "    of 10 pictures: 10 of one colour, 0 damaged, 8x8 pixels" in printed
        assert "  label: 100% of the records, context, int64 0 to 2\n" in printed
        assert f"path: '{data}', feature_names: {{image/encoded: image, " in printed


@pytest.mark.parametrize(
    ("content", "piece"),
    [
        (gzip.compress(frame(b"x")), "is compressed with gzip as a whole"),
        (frame(example(**TFDS))[:-5], "damaged or cut record"),
        (b"no record at all", "damaged record length"),
    ],
    ids=["gzip", "cut", "text"],
)
def test_files_that_cannot_be_read_are_one_sentence(tmp_path, capsys, content, piece):
    (tmp_path / "a.tfrecord").write_bytes(content)
    assert main(["inspect", f"--data={tmp_path}/a.tfrecord"]) == 2
    said = capsys.readouterr().err
    assert piece in said and f"{tmp_path}/a.tfrecord" in said and said.count("\n") == 1


def test_nothing_there_is_one_sentence(tmp_path, capsys):
    for data in (tmp_path, tmp_path / "none-*"):
        assert main(["inspect", f"--data={data}"]) == 2
        assert "there are no TFRecord files" in capsys.readouterr().err
