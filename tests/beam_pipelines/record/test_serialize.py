"""Record bytes against protobuf's own, and against TensorFlow's parser."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from beam_pipelines.record import contract
from beam_pipelines.record.serialize import WireError, parse, pcm16, serialize
from tests import tensorflow_setup  # noqa: F401  Splits the CPU before TensorFlow starts.

CONTEXT = {
    contract.CLIP_KEY: ["ü#0".encode()],
    contract.CLIP_START: [-1],
    contract.CLIP_END: [2**62 + 3],
    contract.LABEL_INDEX: [],
    contract.LABEL_TEXT: [],
    contract.CAPTION: [b"", b"a dog", b"x" * 300],
    contract.FRAME_RATE: [29.97],
    contract.NUM_FRAMES: [2],
}
LISTS = {
    contract.FRAMES: [[b"\xff\xd8first"], [b"y" * 70_000]],
    contract.FRAME_TIMESTAMPS: [[0], [125_000]],
    contract.WAVEFORM_FLOATS: [np.linspace(-1, 1, 5000, dtype=np.float32)],
    contract.OBJECT_BOXES: [[0.0, 0.25, 0.5, 1.0], []],
    contract.OBJECT_DIRECTION: [[b"up", b""], []],
}


def with_protobuf(context: dict, lists: dict) -> bytes:
    import tensorflow as tf

    def feature(key: str, values) -> tf.train.Feature:
        kind = contract.FEATURES[key].dtype
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
            contract.CLIP_END: tf.io.FixedLenFeature([], tf.int64),
            contract.CAPTION: tf.io.RaggedFeature(tf.string),
            contract.LABEL_INDEX: tf.io.RaggedFeature(tf.int64),
        },
        sequence_features={
            contract.FRAMES: tf.io.FixedLenSequenceFeature([], tf.string),
            contract.WAVEFORM_FLOATS: tf.io.RaggedFeature(tf.float32),
        },
    )
    assert context[contract.CLIP_END].numpy().tolist() == CONTEXT[contract.CLIP_END]
    assert context[contract.CAPTION].to_list() == [CONTEXT[contract.CAPTION]]
    assert context[contract.LABEL_INDEX].to_list() == [[]]
    assert lists[contract.FRAMES].numpy().tolist() == [[step[0] for step in LISTS[contract.FRAMES]]]
    np.testing.assert_array_equal(
        lists[contract.WAVEFORM_FLOATS].flat_values, LISTS[contract.WAVEFORM_FLOATS][0]
    )


def test_parse_returns_what_was_written():
    context, lists = parse(serialize(CONTEXT, LISTS))
    assert context.pop(contract.FRAME_RATE) == pytest.approx([29.97])
    assert context == {k: v for k, v in CONTEXT.items() if k != contract.FRAME_RATE}
    wave = lists.pop(contract.WAVEFORM_FLOATS)
    np.testing.assert_array_equal(np.float32(wave), LISTS[contract.WAVEFORM_FLOATS])
    assert lists == {k: v for k, v in LISTS.items() if k != contract.WAVEFORM_FLOATS}


@pytest.mark.parametrize("damage", [b"\x0a\x05\x00", b"\x08\x01", b"\x0a\x02\x0a\x09", b"\x80"])
def test_parse_refuses_other_bytes(damage):
    with pytest.raises(WireError):
        parse(damage)


def test_keys_outside_the_contract_are_refused():
    with pytest.raises(KeyError):
        serialize({"colour": [b"x"]}, {})
    with pytest.raises(KeyError, match="belongs in feature_lists"):
        serialize({contract.FRAMES: [b"x"]}, {})


def test_pcm16_recovers_the_waveform():
    waveform = np.array([0.0, 0.5, -1.0, 1.0, 3.0, -3.0, 1e-6], np.float32)
    values = np.frombuffer(pcm16(waveform), "<i2")
    assert values.tolist() == [0, 16384, -32768, 32767, 32767, -32768, 0]


def test_workers_do_not_import_tensorflow():
    modules = "beam_pipelines.pipelines.worker_process, beam_pipelines.pipelines.preprocess, " + (
        "beam_pipelines.pipelines.transforms, beam_pipelines.media.child, "
        "apache_beam.runners.worker.sdk_worker_main, beam_pipelines.pipelines.vocabulary"
    )
    code = f"import sys, {modules}; sys.exit('tensorflow' in sys.modules)"
    root = pathlib.Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
