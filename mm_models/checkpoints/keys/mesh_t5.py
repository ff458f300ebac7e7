"""What Mesh TensorFlow calls the weights of T5, mT5 and umT5: T5X's arrays under older names."""

import dataclasses
import re

from mm_models.backbones.t5 import T5
from mm_models.checkpoints.keys import t5x_t5
from mm_models.checkpoints.mapping import Place, Source

_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}
_SUBLAYERS = {
    "encoder": ("attention", "mlp"),
    "decoder": ("self_attention", "cross_attention", "mlp"),
}
_NAMES = {
    "attention": "SelfAttention",
    "self_attention": "SelfAttention",
    "cross_attention": "EncDecAttention",
    "mlp": "DenseReluDense",
}
_TOP = {
    "token_embedder/embedding": "shared/embedding",
    "decoder/logits_dense/kernel": "decoder/logits/kernel",
}


def places(model: T5, source: Source | None = None) -> list[Place]:
    """A place for every weight; layer norms are found under either of their names."""
    found = []
    for place in t5x_t5.places(model, source):
        key = _renamed(place.key)
        alias = re.sub(r"(final_)?layer_norm(?=/scale$)", "rms_norm", key)
        aliases = (alias,) if alias != key else ()
        found.append(dataclasses.replace(place, key=key, aliases=aliases))
    return found


def _renamed(key: str) -> str:
    """T5X's key as Mesh TensorFlow has it."""
    if key in _TOP:
        return _TOP[key]
    side, rest = key.split("/", 1)
    layer = re.match(r"layers_(\d+)/(.*)", rest)
    block = f"{side}/block_{int(layer[1]) if layer else 0:03d}"
    rest = layer[2] if layer else rest
    if rest.startswith("relpos_bias/"):
        return f"{block}/layer_000/SelfAttention/relative_attention_bias"
    if layer is None:
        return f"{side}/final_layer_norm/scale"
    norm = re.match(r"pre_(.*)_layer_norm/", rest)
    if norm:
        return f"{block}/layer_{_SUBLAYERS[side].index(norm[1]):03d}/layer_norm/scale"
    sublayer, name = rest.removesuffix("/kernel").split("/")
    sublayer = sublayer.replace("encoder_decoder_attention", "cross_attention")
    scope = f"{block}/layer_{_SUBLAYERS[side].index(sublayer):03d}/{_NAMES[sublayer]}"
    return f"{scope}/{name}/kernel" if sublayer == "mlp" else f"{scope}/{_PROJECTIONS[name]}"
