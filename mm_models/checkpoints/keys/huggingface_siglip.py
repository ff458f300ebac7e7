"""The names that Hugging Face gives to the weights of SigLIP's vision tower.

It is a vision transformer without a class token: with attention pooling (SiglipVisionModel), or
with a classifier of the mean token (SiglipForImageClassification).
"""

from collections.abc import Iterator
from typing import Any

from mm_models.backbones.vit import Vit
from mm_models.backbones.vit_head import MapHead
from mm_models.checkpoints.keys import huggingface_vit
from mm_models.checkpoints.mapping import Place, Source, joined, same, transposed
from mm_models.checkpoints.renamed_source import RenamedSource

# Hub files and all but the newest versions have it; a bare model of version 5 has not.
_PREFIX = "vision_model."
_ATTENTION = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "o"}


def canonical(source: RenamedSource, model: Vit) -> RenamedSource:
    """Names of the bare tower; the other tower keeps its own."""
    del model
    return source.renamed(lambda key: key.removeprefix(_PREFIX))


def fits(model: Vit) -> bool:
    """Whether there is such a model."""
    config = model.config
    if config.pool == "cls" or config.representation_dim:
        return False
    return not config.num_classes or config.pool == "gap"


def places(model: Vit, source: Source | None = None) -> list[Place]:
    """A place for every weight of a Vit, under the names that `source` has or a new file gets."""
    prefix = _PREFIX if source is None else ""
    found = [
        Place(f"{prefix}{place.key}", place.parts, place.axis) for place in _tower_places(model)
    ]
    if model.config.num_classes:
        found += huggingface_vit.dense("classifier", model.head)
    return found


def _tower_places(model: Vit) -> Iterator[Place]:
    yield from huggingface_vit.patches("embeddings.patch_embedding", model)
    yield Place("embeddings.position_embedding.weight", huggingface_vit.position_table(model).parts)
    for index, block in enumerate(model.stack.blocks):
        prefix = f"encoder.layers.{index}"
        yield from huggingface_vit.norm(f"{prefix}.layer_norm1", block.attention_norm)
        for name, layer in _ATTENTION.items():
            kernel = getattr(block.attention, layer)
            yield from huggingface_vit.dense(f"{prefix}.self_attn.{name}", kernel)
        yield from huggingface_vit.norm(f"{prefix}.layer_norm2", block.mlp_norm)
        yield from huggingface_vit.dense(f"{prefix}.mlp.fc1", block.mlp.wi)
        yield from huggingface_vit.dense(f"{prefix}.mlp.fc2", block.mlp.wo)
    yield from huggingface_vit.norm("post_layernorm", model.stack.final_norm)
    if model.config.pool == "map":
        yield from _head_places(model.map_head)


def _head_places(head: MapHead) -> Iterator[Place]:
    """Queries, keys and values are mapped by one matrix, [3 * width, width]."""
    attention = head.attention
    maps = (attention.q, attention.k, attention.v)
    yield same("head.probe", head.probe)
    yield joined("head.attention.in_proj_weight", [transposed("", m.kernel) for m in maps])
    yield joined("head.attention.in_proj_bias", [same("", m.bias) for m in maps])
    yield from huggingface_vit.dense("head.attention.out_proj", attention.o)
    yield from huggingface_vit.norm("head.layernorm", head.norm)
    yield from huggingface_vit.dense("head.mlp.fc1", head.mlp.wi)
    yield from huggingface_vit.dense("head.mlp.fc2", head.mlp.wo)


def check(model: Vit, source: Source) -> None:
    """Raises UserError where the file's config says that its model computes otherwise."""
    found = source.settings or {}
    tower = found.get("vision_config")
    huggingface_vit.check_settings(model, tower if isinstance(tower, dict) else found, source.path)


def settings(model: Vit) -> dict[str, Any]:
    """The `config.json` with which transformers loads the file."""
    config = model.config
    tower = {
        **huggingface_vit.shared_settings(model),
        "model_type": "siglip_vision_model",
        "vision_use_head": config.pool == "map",
    }
    if not config.num_classes:
        return {**tower, "architectures": ["SiglipVisionModel"]}
    return {
        "architectures": ["SiglipForImageClassification"],
        "model_type": "siglip",
        "vision_config": tower,
        **huggingface_vit.label_settings(model),
    }


def files(model: Vit, vocabulary: bytes) -> dict[str, Any]:
    """What transformers' image processor is made from."""
    del vocabulary
    return huggingface_vit.processor_file(model, "SiglipImageProcessor")
