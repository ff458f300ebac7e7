"""The config picks the method; every field matters; bad values are named."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding.beam_search import beam_search
from mm_models.decoding.options import DecodingConfig, decode
from mm_models.decoding.sampling import greedy, sample
from mm_models.decoding.state import DecoderState
from mm_models.errors import UserError
from tests.mm_models.decoding.toys import END, HistoryModel

SEED = tf.constant([3, 1])


def _decode(**fields):
    config = DecodingConfig(**{"max_length": 8, **fields})
    model = HistoryModel(6, batch=12, seed=5, scale=0.8)
    state = model.start(config.beams)
    seed = SEED if config.method == "sample" else None
    return decode(config, model.step, state, model.start_ids(), END, seed)


def _direct(method, beams=1, **options):
    model = HistoryModel(6, batch=12, seed=5, scale=0.8)
    return method(
        model.step, model.start(beams), model.start_ids(), max_length=8, end_id=END, **options
    )


def test_each_method_is_the_function_of_that_name():
    sampling = {"temperature": 0.8, "top_k": 4, "top_p": 0.9}
    for decoded, direct in (
        (_decode(), _direct(greedy)),
        (_decode(method="beam"), _direct(beam_search, 4, num_beams=4)),
        (_decode(method="sample", **sampling), _direct(sample, seed=SEED, **sampling)),
    ):
        for value, expected in zip(decoded, direct, strict=True):
            np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("greedy", "max_length", 5),
        ("greedy", "min_length", 4),
        ("greedy", "no_repeat_ngram", 1),
        ("beam", "num_beams", 2),
        ("beam", "length_penalty", "plain"),
        ("beam", "alpha", 2.0),
        ("sample", "temperature", 0.3),
        ("sample", "top_k", 1),
        ("sample", "top_p", 0.2),
    ],
)
def test_every_field_changes_the_result(method, name, value):
    before, after = _decode(method=method), _decode(method=method, **{name: value})
    assert before.ids.shape != after.ids.shape or np.any(
        before.scores.numpy() != after.scores.numpy()
    )


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_a_batch_of_unknown_size_gives_what_a_known_one_gives(method):
    config = DecodingConfig(method=method, max_length=8)
    model = HistoryModel(6, batch=12, seed=5, scale=0.8)

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32)], autograph=False)
    def call(bias):
        rows = tf.shape(bias)[0] * config.beams
        cache = {"number": tf.zeros([rows], tf.int32), "steps": tf.zeros([rows, 1], tf.int32)}
        starts = tf.zeros_like(bias[:, 0], tf.int32)
        return decode(config, model.step, DecoderState(cache, (bias,)), starts, END, SEED)

    for value, expected in zip(call(model.bias), _decode(method=method), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_the_shortest_results_hold_the_minimum_length():
    assert _decode().lengths.numpy().min() <= 4
    assert _decode(min_length=4).lengths.numpy().min() >= 5


def test_fields_out_of_range_are_named():
    DecodingConfig().check("decoding")
    wrong = {
        "method": "best",
        "length_penalty": "long",
        "max_length": 0,
        "num_beams": 0,
        "min_length": 64,
        "no_repeat_ngram": -1,
        "temperature": -0.1,
        "top_k": -2,
        "alpha": -1.0,
        "top_p": 1.5,
    }
    assert set(wrong) == {field.name for field in dataclasses.fields(DecodingConfig)}
    for name, value in wrong.items():
        with pytest.raises(UserError, match=f"caption.decoding.{name} is"):
            DecodingConfig(**{name: value}).check("caption.decoding")


def test_sampling_needs_a_seed():
    model = HistoryModel(6)
    with pytest.raises(ValueError, match="seed"):
        config = DecodingConfig(method="sample")
        decode(config, model.step, model.start(), model.start_ids(), END)
