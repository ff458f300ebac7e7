"""What transformers calls the weights of T5, mT5 and umT5.

A file of T5 1.1, mT5 or umT5 has an `lm_head` of its own. Where it lacks one, the library took the
token table for it: the first T5 divides what it multiplies by the root of its width (`tie_logits`),
while mT5 multiplies as it is, which a kernel equal to the table expresses.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from mm_models.backbones.t5 import END_ID, PAD_ID, START_ID, T5
from mm_models.backbones.t5_config import T5Config
from mm_models.checkpoints.mapping import Place, Source, same, transposed
from mm_models.errors import UserError
from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.block import TransformerBlock
from mm_models.layers.transformer.normalization import EPSILON

TABLE = "shared.weight"
LOGITS = "lm_head.weight"
TABLE_ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_PROJECTIONS = {"gated_gelu": "gated-gelu", "relu": "relu"}
# Names of the activation of which a gated half is that of T5 1.1.
_GATED_PROJECTIONS = ("gated-gelu", "gated-gelu_new")


def places(model: T5, source: Source | None = None) -> list[Place]:
    """A place for every weight.

    Raises:
        UserError: logits are to come from the token table, and the file has other ones.
    """
    table = dataclasses.replace(
        same(TABLE, model.token_embedding.embeddings), aliases=TABLE_ALIASES
    )
    found = [table]
    if not model.config.tie_logits:
        logits = transposed(LOGITS, model.logits_dense.kernel)
        found.append(dataclasses.replace(logits, aliases=table.keys))
    else:
        _check_tied(source)
        # A copy of the table that some files hold.
        found[0] = dataclasses.replace(table, aliases=(*TABLE_ALIASES, LOGITS))
    for side in ("encoder", "decoder"):
        found += _stack(model, side)
    return found


def _check_tied(source: Source | None) -> None:
    if source is None or LOGITS not in source.shapes or TABLE not in source.shapes:
        return
    if not np.array_equal(source.value(LOGITS), source.value(TABLE)):
        raise UserError(
            f"{source.path} has an {LOGITS} that differs from {TABLE}; "
            "set tie_logits of the model to false"
        )


def _stack(model: T5, side: str) -> Iterator[Place]:
    stack = getattr(model, side)
    for index, block in enumerate(stack.blocks):
        yield from _block(f"{side}.block.{index}.layer", block)
    for index, bias in enumerate(model.biases(side)):
        key = f"{side}.block.{index}.layer.0.SelfAttention.relative_attention_bias.weight"
        yield same(key, bias.embeddings)
    yield same(f"{side}.final_layer_norm.weight", stack.final_norm.scale)


def _block(prefix: str, block: TransformerBlock) -> Iterator[Place]:
    yield from _attention(f"{prefix}.0.SelfAttention", block.attention)
    norms = [block.attention_norm]
    if block.options.cross_attention:
        yield from _attention(f"{prefix}.1.EncDecAttention", block.cross_attention)
        norms.append(block.cross_attention_norm)
    norms.append(block.mlp_norm)
    for index, norm in enumerate(norms):
        yield same(f"{prefix}.{index}.layer_norm.weight", norm.scale)
    for dense in block.mlp.dense_layers:
        name = f"{prefix}.{len(norms) - 1}.DenseReluDense.{dense.name}.weight"
        yield transposed(name, dense.kernel)


def _attention(prefix: str, attention: MultiHeadAttention) -> Iterator[Place]:
    for name in "qkvo":
        yield transposed(f"{prefix}.{name}.weight", getattr(attention, name).kernel)


def settings(model: T5) -> dict[str, Any]:
    """The `config.json` with which transformers builds the same model."""
    config = model.config
    kind = "mt5"
    if config.per_layer_bias:
        kind = "umt5"
    elif config.tie_logits or config.feed_forward == "relu":
        kind = "t5"
    return {
        "architectures": [f"{kind.upper()}ForConditionalGeneration"],
        "model_type": kind,
        "is_encoder_decoder": True,
        "tie_word_embeddings": config.tie_logits,
        "pad_token_id": PAD_ID,
        "decoder_start_token_id": START_ID,
        "eos_token_id": END_ID,
        "layer_norm_epsilon": EPSILON,
        **_mathematics(config),
    }


def files(model: T5, vocabulary: bytes) -> dict[str, Any]:
    """What transformers writes texts by, and what its T5Tokenizer is made from.

    Args:
        model: has no part in it.
        vocabulary: a SentencePiece model, which holds its sentinels itself; empty: no tokenizer.
    """
    del model
    ids = {
        "decoder_start_token_id": START_ID,
        "eos_token_id": END_ID,
        "pad_token_id": PAD_ID,
    }
    found: dict[str, Any] = {"generation_config.json": ids}
    if vocabulary:
        tokenizer = {
            "tokenizer_class": "T5Tokenizer",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "extra_ids": 0,
            "additional_special_tokens": None,
        }
        found["spiece.model"] = vocabulary
        found["tokenizer_config.json"] = tokenizer
    return found


def _mathematics(config: T5Config) -> dict[str, Any]:
    """The settings that shape the computation, by transformers' names."""
    return {
        "vocab_size": config.vocabulary_size,
        "d_model": config.width,
        "d_kv": config.head_dim,
        "d_ff": config.mlp_dim,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "num_heads": config.num_heads,
        "relative_attention_num_buckets": config.num_buckets,
        "relative_attention_max_distance": config.max_distance,
        "feed_forward_proj": _PROJECTIONS[config.feed_forward],
        "dropout_rate": config.dropout_rate,
    }


def check(model: T5, source: Source) -> None:
    """Raises UserError where `config.json` speaks of other mathematics than the model's.

    Shapes alone do not tell heads from their widths, nor how logits are scaled.
    """
    theirs = source.settings
    if theirs is None:
        return
    ours = {**_mathematics(model.config), "layer_norm_epsilon": EPSILON}
    # How many layers there are, keys tell, some of which may be left over.
    for name in ("dropout_rate", "num_layers", "num_decoder_layers"):
        del ours[name]
    for name, value in ours.items():
        found = theirs.get(name, value)
        equal = found in _GATED_PROJECTIONS if value == "gated-gelu" else found == value
        if not equal:
            raise UserError(
                f"{source.path} was made with {name} = {found}, the model with {value}; "
                "give the model the sizes of the checkpoint"
            )
    # The first T5 divides what the logits are made of; that flag is how its library knows.
    flag = theirs.get("scale_decoder_outputs", theirs.get("tie_word_embeddings", True))
    tied = theirs.get("model_type") == "t5" and flag
    if tied != model.config.tie_logits and theirs.get("model_type") in ("t5", "mt5"):
        raise UserError(
            f"{source.path} {'takes' if tied else 'does not take'} its logits from the scaled "
            f"token table; set tie_logits of the model to {str(tied).lower()}"
        )
