"""The loader of frozen text encoders: layers, cropping, and what it refuses."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.encoders.word_encoder import FrozenWordEncoder
from tests.mm_models.text.dummy_word_encoder import DummyWordEncoder, write_encoder

WIDTH = 3


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return FrozenWordEncoder(
        write_encoder(tmp_path_factory.mktemp("encoder") / "e", WIDTH), "the field"
    )


def _vectors(encoder, words: list[str]) -> np.ndarray:
    """float32[words, width], each word encoded alone."""
    return encoder.encode(tf.constant(words), 1).layers[:, 0, 0, :WIDTH].numpy()


def test_layers_hold_the_words_twice_and_both_directions(encoder):
    sentences = ["a Green seven", "", "seven  of\tnine. and more", "  "]
    found = encoder.encode(tf.constant(sentences), 4)
    assert encoder.width == WIDTH
    np.testing.assert_array_equal(found.num_words, [3, 0, 5, 0])
    np.testing.assert_array_equal(
        found.word_mask, [[1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    )
    layers = found.layers.numpy()
    assert layers.shape == (4, 4, 3, 2 * WIDTH)
    assert not layers[found.word_mask.numpy() == 0].any()
    words = _vectors(encoder, ["a", "Green", "seven"])
    np.testing.assert_allclose(layers[0, :3, 0], np.tile(words, 2), rtol=1e-6)
    forward, backward = np.cumsum(words, axis=0), np.cumsum(words[::-1], axis=0)[::-1]
    np.testing.assert_allclose(layers[0, :3, 1], np.hstack([forward, backward]), rtol=1e-5)
    second = np.hstack([np.cumsum(forward, axis=0), np.cumsum(backward[::-1], axis=0)[::-1]])
    np.testing.assert_allclose(layers[0, :3, 2], second, rtol=1e-5)
    # A cropped sentence keeps what its layers knew of the words behind.
    whole = encoder.encode(tf.constant(sentences[2:3]), 6).layers.numpy()
    np.testing.assert_allclose(layers[2], whole[0, :4], rtol=1e-6)
    assert whole[0, 4].any() and not whole[0, 5].any()


def test_it_runs_in_data_sets_that_are_made_in_the_scope_of_a_strategy(encoder):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        here = FrozenWordEncoder(encoder.path, "the field")
        rows = tf.data.Dataset.from_tensors(tf.constant(["a b", "c"]))
        batches = strategy.distribute_datasets_from_function(
            lambda _: rows.repeat().map(lambda texts: here.encode(texts, 3).layers)
        )
        found = strategy.experimental_local_results(next(iter(batches)))
    expected = encoder.encode(tf.constant(["a b", "c"]), 3).layers
    assert len(found) == 2
    for each in found:
        np.testing.assert_array_equal(each, expected)


def test_it_runs_in_the_map_of_a_data_set_with_static_shapes(encoder):
    rows = tf.data.Dataset.from_tensor_slices(["a b", "c"]).batch(2, drop_remainder=True)
    rows = rows.map(lambda texts: encoder.encode(texts, 5)._asdict())
    assert rows.element_spec["layers"].shape == [2, 5, 3, 2 * WIDTH]
    assert rows.element_spec["word_mask"].shape == [2, 5]
    (batch,) = rows.as_numpy_iterator()
    again = encoder.encode(tf.constant(["a b", "c"]), 5)
    np.testing.assert_array_equal(batch["layers"], again.layers)


def _save(path, give, spec=None) -> str:
    module = tf.Module()
    taken = spec or tf.TensorSpec([None], tf.string, name="sentences")
    module.run = tf.function(give, input_signature=[taken])
    tf.saved_model.save(module, str(path), {"encode_words": module.run})
    return str(path)


def _given(sentences, **other):
    rows = tf.size(sentences)
    found = {"word_emb": tf.zeros([rows, 2, 3]), "sequence_len": tf.zeros([rows], tf.int32)}
    return found | {"lstm1": tf.zeros([rows, 2, 6]), "lstm2": tf.zeros([rows, 2, 6])} | other


def test_models_of_another_contract_are_refused(tmp_path):
    def fault(path) -> str:
        with pytest.raises(UserError) as error:
            FrozenWordEncoder(str(path), "input.phrases.encoder")
        return str(error.value)

    assert "cannot be loaded" in fault(tmp_path / "nowhere")
    path = write_encoder(tmp_path / "name", signature="feature_maps")
    assert "has no signature 'encode_words', only feature_maps;" in fault(path)
    path = write_encoder(tmp_path / "narrow", 4, layer_width=9)
    assert re.search(
        r"lstm1 is \[3, 2, 9\] .* word vectors of 4 it must be \[3, 2, 8\]", fault(path)
    )
    ids = _save(tmp_path / "ids", lambda ids: _given(ids), tf.TensorSpec([None], tf.int32, "ids"))
    assert "takes ids: int32[None] and gives" in fault(ids)
    long = _save(
        tmp_path / "dtype",
        lambda sentences: _given(sentences, sequence_len=tf.zeros([tf.size(sentences)], tf.int64)),
    )
    assert "sequence_len: int64[None]" in fault(long)
    counted = _save(tmp_path / "count", lambda sentences: _given(sentences))
    assert "finds (0, 0, 0) words in ('one two', '', 'three')" in fault(counted)


@pytest.mark.slow
def test_an_export_is_loaded_with_the_operations_that_it_needs(tmp_path):
    import tensorflow_text

    class SplitsByOtherOperations(DummyWordEncoder):
        def _words(self, sentences):
            return tensorflow_text.WhitespaceTokenizer().tokenize(sentences)

    module = SplitsByOtherOperations(WIDTH)
    folder = str(tmp_path / "encoder")
    tf.saved_model.save(module, folder, {"encode_words": module.encode_words})
    load = f"FrozenWordEncoder({folder!r}, 'encoder')"
    code = f"from mm_models.text.encoders.word_encoder import FrozenWordEncoder; {load}"
    command = [sys.executable, "-c", code]
    alone = subprocess.run(command, capture_output=True, text=True)
    assert "not registered" in alone.stderr and "UserError" in alone.stderr
    (tmp_path / "encoder/assets.extra").mkdir()
    info = tmp_path / "encoder/assets.extra/model_info.json"
    info.write_text(json.dumps({"op_libraries": ["tensorflow_text"]}))
    subprocess.run(command, check=True, capture_output=True)
