"""T5 beside transformers itself, where that is installed: the same weights, the same numbers."""

import os

import numpy as np
import pytest
import tensorflow as tf

from mm_models.backbones.t5 import T5, T5Config, shift_right
from tests.mm_models.checkpoints.test_t5 import load, save

VOCABULARY, LENGTH = 50, 32
SHAPES = {
    "narrow": {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_heads": 3, "num_layers": 2},
    "deep": {
        "d_model": 16,
        "d_kv": 16,
        "d_ff": 20,
        "num_heads": 2,
        "num_layers": 3,
        "num_decoder_layers": 4,
        "relative_attention_num_buckets": 16,
        "relative_attention_max_distance": 20,
    },
}
# transformers' class, whether `lm_head` is its own, and the config of ours.
FAMILIES = {
    "mt5_tied": ("MT5", False, {}),
    "mt5": ("MT5", True, {}),
    "t5": ("T5", False, {"tie_logits": True, "feed_forward": "relu"}),
    "t5_1_1": ("T5", True, {}),
    "umt5": ("UMT5", True, {"per_layer_bias": True}),
}


def _theirs(family, shape):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.set_num_threads(1)
    torch.manual_seed(3)
    kind, untied, changes = FAMILIES[family]
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCABULARY,
        decoder_start_token_id=0,
        feed_forward_proj=changes.get("feed_forward", "gated-gelu"),
        tie_word_embeddings=not untied,
        **shape,
    )
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    if untied:
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight) * 0.3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(torch.rand_like(parameter))
    return model


def _ours(family, shape):
    return T5(
        T5Config(
            "debug",
            width=shape["d_model"],
            head_dim=shape["d_kv"],
            mlp_dim=shape["d_ff"],
            num_heads=shape["num_heads"],
            num_encoder_layers=shape["num_layers"],
            num_decoder_layers=shape.get("num_decoder_layers", shape["num_layers"]),
            num_buckets=shape.get("relative_attention_num_buckets", 32),
            max_distance=shape.get("relative_attention_max_distance", 128),
            vocabulary_size=VOCABULARY,
            **FAMILIES[family][2],
        ),
        name="t5",
    )


def _batch():
    random = np.random.default_rng(1)
    inputs = random.integers(2, VOCABULARY, [3, 40])
    inputs[1, 25:] = 0
    return inputs, random.integers(2, VOCABULARY, [3, LENGTH])


def _their_logits(model, inputs, targets):
    import torch

    inputs, targets = torch.tensor(inputs), torch.tensor(targets)
    with torch.no_grad():
        found = model(input_ids=inputs, attention_mask=(inputs != 0).long(), labels=targets).logits
    divided = type(model).__name__.startswith("UMT5") and model.config.tie_word_embeddings
    return found.numpy() * (model.config.d_model**0.5 if divided else 1.0)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("family", list(FAMILIES))
def test_same_weights_same_logits_all_at_once_and_step_by_step(family, shape, tmp_path):
    theirs = _theirs(family, SHAPES[shape])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = _ours(family, SHAPES[shape])
    report = load(tmp_path / "theirs", ours)
    assert not report.skipped
    inputs, targets = _batch()
    expected = _their_logits(theirs, inputs, targets)
    inputs, targets = tf.constant(inputs, tf.int32), tf.constant(targets, tf.int32)
    got = ours({"inputs": inputs, "targets": targets})
    assert np.abs(got - expected).max() < 1e-4

    mask = tf.cast(inputs != 0, tf.float32)
    state = ours.start(ours.encode(ours.embed(inputs), mask), mask, LENGTH)
    step = tf.function(ours.step, autograph=False)
    for position, ids in enumerate(tf.unstack(shift_right(targets), axis=1)):
        stepped, state = step(ids, tf.constant(position), state)
        assert np.abs(stepped - expected[:, position]).max() < 1e-4


@pytest.mark.parametrize("family", ["mt5", "t5", "t5_1_1"])
def test_transformers_reads_what_is_exported(family, tmp_path):
    theirs = _theirs(family, SHAPES["narrow"])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = _ours(family, SHAPES["narrow"])
    load(tmp_path / "theirs", ours)
    save(ours, tmp_path / "ours", "huggingface")
    import transformers

    again = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours").eval()
    inputs, targets = _batch()
    expected = _their_logits(theirs, inputs, targets)
    assert np.abs(_their_logits(again, inputs, targets) - expected).max() < 1e-5
