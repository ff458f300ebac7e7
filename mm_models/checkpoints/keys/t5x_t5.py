"""What T5X calls the weights of T5, mT5 and umT5, in all layouts that it writes.

Layers lie in scopes of their own, `layers_0` and so on, or, where they were scanned, in one scope
`layers` with the layers along axis 1 of every array. Flaxformer's layout, in which umT5 was
trained, names the scope after the stack and gives kernels an axis of heads.
"""

import re
from collections.abc import Iterator

from mm_models.backbones.t5 import T5
from mm_models.checkpoints.mapping import Place, Source, same, transposed
from mm_models.checkpoints.renamed_source import RenamedSource
from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.block import TransformerBlock

_ATTENTION = {"q": "query", "k": "key", "v": "value", "o": "out"}
_LAYER_AXIS = 1
_TABLE = "token_embedder/embedding"
# What a whole training state has beside the parameters.
_OPTIMIZER = re.compile(r"^(state|opt_state|param_states|step)(/|$)")


def canonical(source: RenamedSource, model: T5) -> RenamedSource:
    """One scope for each layer, and matrices, whatever the layout; of a training state that was
    saved as a whole, the parameters."""
    del model
    prefix = next(key for key in source.shapes if key.endswith(_TABLE)).removesuffix(_TABLE)
    if prefix:
        source = source.renamed(lambda key: None if _OPTIMIZER.match(key) else key)
        source = source.renamed(lambda key: key.removeprefix(prefix))
    source = source.substituted(
        (r"^(encoder|decoder)/\1/", r"\1/layers/"), (r"/relative_posemb/", "/relpos_bias/")
    )
    source = source.unstacked(r"(?<=coder/)layers/", "layers_{index}/", axis=_LAYER_AXIS)
    for key, shape in source.shapes.items():
        if key.endswith("/kernel") and len(shape) == 3:
            # [dim, heads, head_dim], or [heads, head_dim, dim] of the last map.
            joined = (shape[0], shape[1] * shape[2])
            if key.endswith("/out/kernel"):
                joined = (shape[0] * shape[1], shape[2])
            source = source.computed(key, joined, _reshape(joined), key)
    return source


def _reshape(shape):
    return lambda value: value.reshape(shape)


def places(model: T5, source: Source | None = None) -> list[Place]:
    """A place for every weight, in scopes of their own for the layers."""
    del source
    found = [same(_TABLE, model.token_embedding.embeddings)]
    if not model.config.tie_logits:
        found.append(same("decoder/logits_dense/kernel", model.logits_dense.kernel))
    for side in ("encoder", "decoder"):
        found += _stack(model, side)
    return found


def _stack(model: T5, side: str) -> Iterator[Place]:
    stack = getattr(model, side)
    for index, block in enumerate(stack.blocks):
        yield from _block(f"{side}/layers_{index}", block)
    for index, bias in enumerate(model.biases(side)):
        scope = f"{side}/layers_{index}" if model.config.per_layer_bias else side
        yield transposed(f"{scope}/relpos_bias/rel_embedding", bias.embeddings)
    yield same(f"{side}/{side}_norm/scale", stack.final_norm.scale)


def _block(scope: str, block: TransformerBlock) -> Iterator[Place]:
    first, norm = "attention", "pre_attention_layer_norm"
    if block.options.cross_attention:
        first, norm = "self_attention", "pre_self_attention_layer_norm"
        yield from _attention(f"{scope}/encoder_decoder_attention", block.cross_attention)
        yield same(
            f"{scope}/pre_cross_attention_layer_norm/scale", block.cross_attention_norm.scale
        )
    yield from _attention(f"{scope}/{first}", block.attention)
    yield same(f"{scope}/{norm}/scale", block.attention_norm.scale)
    yield same(f"{scope}/pre_mlp_layer_norm/scale", block.mlp_norm.scale)
    for dense in block.mlp.dense_layers:
        yield same(f"{scope}/mlp/{dense.name}/kernel", dense.kernel)


def _attention(scope: str, attention: MultiHeadAttention) -> Iterator[Place]:
    for ours, theirs in _ATTENTION.items():
        yield same(f"{scope}/{theirs}/kernel", getattr(attention, ours).kernel)
