"""The names that Hugging Face's ViT (ViTModel, ViTForImageClassification) gives to its weights.

Files have the names of transformers 4 below, which version 5 also writes; names of modules in
memory in version 5 are understood too.
"""

from collections.abc import Iterator
from typing import Any

from mm_models.backbones.vit import Vit
from mm_models.checkpoints.keys import huggingface_vit
from mm_models.checkpoints.mapping import Place, Source, joined, reshaped, zeros
from mm_models.checkpoints.renamed_source import RenamedSource

_PREFIX = "vit."
_CLASS, _POSITIONS = "embeddings.cls_token", "embeddings.position_embeddings"
_ATTENTION = {
    "attention.attention.query": "q",
    "attention.attention.key": "k",
    "attention.attention.value": "v",
    "attention.output.dense": "o",
}
# Names of version 5 in memory.
_RENAMED = (
    (r"^layers\.(\d+)\.attention\.q_proj\.", r"encoder.layer.\1.attention.attention.query."),
    (r"^layers\.(\d+)\.attention\.k_proj\.", r"encoder.layer.\1.attention.attention.key."),
    (r"^layers\.(\d+)\.attention\.v_proj\.", r"encoder.layer.\1.attention.attention.value."),
    (r"^layers\.(\d+)\.attention\.o_proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^layers\.(\d+)\.mlp\.fc1\.", r"encoder.layer.\1.intermediate.dense."),
    (r"^layers\.(\d+)\.mlp\.fc2\.", r"encoder.layer.\1.output.dense."),
    (r"^layers\.(\d+)\.", r"encoder.layer.\1."),
)


def canonical(source: RenamedSource, model: Vit) -> RenamedSource:
    """Names of a bare model in version 4. For a model whose class token has no position of its own,
    the token's row of positions is added to it."""
    source = source.renamed(lambda key: key.removeprefix(_PREFIX)).substituted(*_RENAMED)
    if model.config.class_position or not {_CLASS, _POSITIONS} <= set(source.shapes):
        return source
    token = source.shapes[_CLASS]
    return source.computed(_CLASS, token, lambda cls, table: cls + table[:, :1], _CLASS, _POSITIONS)


def fits(model: Vit) -> bool:
    """Whether there is such a model: a class token, and no classifier behind a representation."""
    config = model.config
    return config.pool == "cls" and not (config.representation_dim and config.num_classes)


def places(model: Vit, source: Source | None = None) -> list[Place]:
    """A place for every weight of a Vit, under the names that `source` has or a new file gets."""
    prefix = _PREFIX if source is None and model.config.num_classes else ""
    found = [
        Place(f"{prefix}{place.key}", place.parts, place.axis) for place in _trunk_places(model)
    ]
    if model.config.num_classes:
        found += huggingface_vit.dense("classifier", model.head)
    return found


def _trunk_places(model: Vit) -> Iterator[Place]:
    config, row = model.config, (1, 1, model.config.width)
    yield from huggingface_vit.patches("embeddings.patch_embeddings.projection", model)
    table = huggingface_vit.position_table(model, 1)
    front = zeros(row)
    if config.pool == "cls":
        yield reshaped(_CLASS, model.class_token.embedding, row)
        if config.class_position:
            front = reshaped("", model.class_token.position, row)
    yield joined(_POSITIONS, [front, table], axis=1)
    for index, block in enumerate(model.stack.blocks):
        prefix = f"encoder.layer.{index}"
        yield from huggingface_vit.norm(f"{prefix}.layernorm_before", block.attention_norm)
        for name, layer in _ATTENTION.items():
            yield from huggingface_vit.dense(f"{prefix}.{name}", getattr(block.attention, layer))
        yield from huggingface_vit.norm(f"{prefix}.layernorm_after", block.mlp_norm)
        yield from huggingface_vit.dense(f"{prefix}.intermediate.dense", block.mlp.wi)
        yield from huggingface_vit.dense(f"{prefix}.output.dense", block.mlp.wo)
    yield from huggingface_vit.norm("layernorm", model.stack.final_norm)
    if config.representation_dim:
        yield from huggingface_vit.dense("pooler.dense", model.pre_logits)


def check(model: Vit, source: Source) -> None:
    """Raises UserError where the file's config says that its model computes otherwise."""
    huggingface_vit.check_settings(model, source.settings or {}, source.path)


def settings(model: Vit) -> dict[str, Any]:
    """The `config.json` with which transformers loads the file."""
    config = model.config
    found = {
        **huggingface_vit.shared_settings(model),
        "architectures": ["ViTForImageClassification" if config.num_classes else "ViTModel"],
        "model_type": "vit",
        "qkv_bias": True,
    }
    if config.num_classes:
        found |= huggingface_vit.label_settings(model)
    if config.representation_dim:
        found |= {"pooler_output_size": config.representation_dim, "pooler_act": "tanh"}
    return found


def files(model: Vit, vocabulary: bytes) -> dict[str, Any]:
    """What transformers' image processor is made from."""
    del vocabulary
    return huggingface_vit.processor_file(model, "ViTImageProcessor")
