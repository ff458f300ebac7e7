"""Buckets: the right one, one trace each, and results that do not show which it was."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding.compiled import CompiledDecoder, pick_bucket
from mm_models.decoding.options import DecodingConfig, decode
from mm_models.decoding.prefill import for_beams
from mm_models.decoding.state import DecoderState
from mm_models.errors import UserError
from tests.mm_models.decoding.toys import END, HistoryModel

VOCABULARY = 9


def test_the_smallest_bucket_that_fits():
    assert [pick_bucket(n, (16, 4, 8), "x") for n in (1, 4, 5, 16)] == [4, 4, 8, 16]
    with pytest.raises(UserError, match="x has length 17.*16"):
        pick_bucket(17, (16, 4, 8), "x")


def _decoder(method, jit_compile):
    model = HistoryModel(VOCABULARY, batch=3, seed=1)
    config = DecodingConfig(method=method, num_beams=2)

    def write(inputs, max_length, limit):
        # The prompt sets where the history begins; padding adds nothing.
        prompts = tf.reduce_sum(inputs["prompts"], axis=1)
        bias = tf.constant(model.bias)[: prompts.shape[0]]
        cache = {"number": prompts, "steps": tf.zeros_like(prompts)[:, None]}
        state = DecoderState(for_beams(cache, config.beams), (bias,))
        return decode(
            config,
            model.step,
            state,
            tf.zeros_like(prompts),
            END,
            tf.constant([1, 2]),
            max_length=max_length,
            limit=limit,
        )

    return CompiledDecoder(
        write,
        output_buckets=(5, 12),
        input_buckets={"prompts": (4, 8)},
        jit_compile=jit_compile,
    )


@pytest.mark.parametrize(
    ("method", "jit_compile"), [("greedy", True), ("sample", True), ("beam", False)]
)
def test_results_do_not_show_the_bucket_and_graphs_are_made_once(method, jit_compile):
    decoder = _decoder(method, jit_compile)
    prompts = np.random.default_rng(0).integers(2, VOCABULARY, [3, 3]).astype(np.int32)
    long = decoder({"prompts": prompts}, 12)
    assert long.ids.shape[-1] == 12
    for max_length in (4, 5, 4):
        short = decoder({"prompts": prompts}, max_length)
        assert short.ids.shape[-1] == max_length
        again = decoder({"prompts": np.pad(prompts, [[0, 0], [0, 5 - max_length]])}, max_length)
        np.testing.assert_array_equal(short.ids, again.ids)
        if method != "beam":
            np.testing.assert_array_equal(short.ids, long.ids[:, :max_length])
    assert sorted(decoder.trace_counts()) == [
        (5, ("prompts", "int32", 3, 4)),
        (12, ("prompts", "int32", 3, 4)),
    ]
    assert set(decoder.trace_counts().values()) == {1}
    if method == "greedy":
        decoder({"prompts": np.pad(prompts, [[0, 0], [0, 4]])}, 2)  # 7 ids: the other bucket
        decoder({"prompts": prompts[:2]}, 2)  # another batch: a graph of its own
        assert list(decoder.trace_counts().values()) == [1] * 4


def test_what_fits_no_bucket_is_refused():
    decoder = _decoder("greedy", False)
    with pytest.raises(UserError, match="the result has length 13"):
        decoder({"prompts": np.ones([1, 3], np.int32)}, 13)
    with pytest.raises(UserError, match="input 'prompts' has length 9"):
        decoder({"prompts": np.ones([1, 9], np.int32)}, 5)
    assert not decoder.trace_counts()
