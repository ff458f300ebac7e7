"""Writes t5.npz: logits of transformers' T5 family for weights that follow from their names.

    HF_HUB_OFFLINE=1 python tests/golden/make_t5.py      # needs torch and transformers

Where a model's logits are divided by the root of its width although they have a kernel of their own
(transformers' umT5 does so), the division is undone: T5X, in which umT5 was trained, has none.
"""

import pathlib

import numpy as np
import torch
import transformers

from tests.mm_models.checkpoints import t5_cases

MODELS = {
    "mt5": (transformers.MT5Config, transformers.MT5ForConditionalGeneration),
    "t5": (transformers.T5Config, transformers.T5ForConditionalGeneration),
    "umt5": (transformers.UMT5Config, transformers.UMT5ForConditionalGeneration),
}


def make_model(family: str):
    """A model of the family with named weights; `lm_head` has its own unless it is the first T5."""
    case = t5_cases.CASES[family]
    make_config, make = MODELS[family]
    config = make_config(
        vocab_size=case["vocabulary_size"],
        d_model=case["width"],
        d_kv=case["head_dim"],
        d_ff=case["mlp_dim"],
        num_layers=case["num_encoder_layers"],
        num_decoder_layers=case["num_decoder_layers"],
        num_heads=case["num_heads"],
        decoder_start_token_id=0,
        feed_forward_proj=case.get("feed_forward", "gated-gelu"),
    )
    model = make(config).eval()
    if family != "t5":
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.tensor(t5_cases.named_value(name, tuple(parameter.shape))))
    return model


def logits(family: str) -> np.ndarray:
    """float32[batch, targets, vocab] of the batch of the cases."""
    model, batch = make_model(family), t5_cases.batch()
    inputs, targets = torch.tensor(batch["inputs"]), torch.tensor(batch["targets"])
    with torch.no_grad():
        found = model(input_ids=inputs, attention_mask=inputs != 0, labels=targets).logits
    scale = model.config.d_model**0.5 if family == "umt5" else 1.0
    return found.numpy() * np.float32(scale)


if __name__ == "__main__":
    torch.set_num_threads(1)
    path = pathlib.Path(__file__).with_name("t5.npz")
    np.savez_compressed(path, **{family: logits(family) for family in MODELS})
    print(f"{path}: {path.stat().st_size} bytes, transformers {transformers.__version__}")
