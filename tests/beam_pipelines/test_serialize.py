"""Record bytes against protobuf's own, and against TensorFlow's parser."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from beam_pipelines import records
from beam_pipelines.serialize import WireError, parse, pcm16, serialize
from tests import tensorflow_setup  # noqa: F401  Splits the CPU before TensorFlow starts.

CONTEXT = {
    records.CLIP_KEY: ["ü#0".encode()],
    records.CLIP_START: [-1],
    records.CLIP_END: [2**62 + 3],
    records.LABEL_INDEX: [],
    records.LABEL_TEXT: [],
    records.CAPTION: [b"", b"a dog", b"x" * 300],
    records.FRAME_RATE: [29.97],
    records.NUM_FRAMES: [2],
}
LISTS = {
    records.FRAMES: [[b"\xff\xd8first"], [b"y" * 70_000]],
    records.FRAME_TIMESTAMPS: [[0], [125_000]],
    records.WAVEFORM_FLOATS: [np.linspace(-1, 1, 5000, dtype=np.float32)],
    records.OBJECT_BOXES: [[0.0, 0.25, 0.5, 1.0], []],
    records.OBJECT_DIRECTION: [[b"up", b""], []],
}


def with_protobuf(context: dict, lists: dict) -> bytes:
    import tensorflow as tf

    def feature(key: str, values) -> tf.train.Feature:
        kind = records.FEATURES[key].dtype
        if kind == "bytes":
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if kind == "float":
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    example = tf.train.SequenceExample()
    for key, values in context.items():
        example.context.feature[key].CopyFrom(feature(key, values))
    for key, steps in lists.items():
        for step in steps:
            example.feature_lists.feature_list[key].feature.append(feature(key, step))
    return example.SerializeToString(deterministic=True)


def test_bytes_equal_those_of_protobuf():
    assert serialize(CONTEXT, LISTS) == with_protobuf(CONTEXT, LISTS)
    assert serialize({}, {}) == b"\x0a\x00\x12\x00"


def test_tensorflow_parses_it():
    import tensorflow as tf

    context, lists, _ = tf.io.parse_sequence_example(
        tf.constant([serialize(CONTEXT, LISTS)]),
        context_features={
            records.CLIP_END: tf.io.FixedLenFeature([], tf.int64),
            records.CAPTION: tf.io.RaggedFeature(tf.string),
            records.LABEL_INDEX: tf.io.RaggedFeature(tf.int64),
        },
        sequence_features={
            records.FRAMES: tf.io.FixedLenSequenceFeature([], tf.string),
            records.WAVEFORM_FLOATS: tf.io.RaggedFeature(tf.float32),
        },
    )
    assert context[records.CLIP_END].numpy().tolist() == CONTEXT[records.CLIP_END]
    assert context[records.CAPTION].to_list() == [CONTEXT[records.CAPTION]]
    assert context[records.LABEL_INDEX].to_list() == [[]]
    assert lists[records.FRAMES].numpy().tolist() == [[step[0] for step in LISTS[records.FRAMES]]]
    np.testing.assert_array_equal(
        lists[records.WAVEFORM_FLOATS].flat_values, LISTS[records.WAVEFORM_FLOATS][0]
    )


def test_parse_returns_what_was_written():
    context, lists = parse(serialize(CONTEXT, LISTS))
    assert context.pop(records.FRAME_RATE) == pytest.approx([29.97])
    assert context == {k: v for k, v in CONTEXT.items() if k != records.FRAME_RATE}
    wave = lists.pop(records.WAVEFORM_FLOATS)
    np.testing.assert_array_equal(np.float32(wave), LISTS[records.WAVEFORM_FLOATS])
    assert lists == {k: v for k, v in LISTS.items() if k != records.WAVEFORM_FLOATS}


@pytest.mark.parametrize("damage", [b"\x0a\x05\x00", b"\x08\x01", b"\x0a\x02\x0a\x09", b"\x80"])
def test_parse_refuses_other_bytes(damage):
    with pytest.raises(WireError):
        parse(damage)


def test_keys_outside_the_contract_are_refused():
    with pytest.raises(KeyError):
        serialize({"colour": [b"x"]}, {})
    with pytest.raises(KeyError, match="belongs in feature_lists"):
        serialize({records.FRAMES: [b"x"]}, {})


def test_pcm16_recovers_the_waveform():
    waveform = np.array([0.0, 0.5, -1.0, 1.0, 3.0, -3.0, 1e-6], np.float32)
    values = np.frombuffer(pcm16(waveform), "<i2")
    assert values.tolist() == [0, 16384, -32768, 32767, 32767, -32768, 0]


def test_workers_do_not_import_tensorflow():
    modules = "beam_pipelines.pipelines.worker, beam_pipelines.pipelines.preprocess, " + (
        "beam_pipelines.transforms, beam_pipelines.media.child, "
        "apache_beam.runners.worker.sdk_worker_main, beam_pipelines.pipelines.vocabulary"
    )
    code = f"import sys, {modules}; sys.exit('tensorflow' in sys.modules)"
    root = pathlib.Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
