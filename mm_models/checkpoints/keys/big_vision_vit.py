"""The names that big_vision gives to the weights of a vision transformer."""

import math
import re
from collections.abc import Iterator

import keras
import numpy as np

from mm_models.backbones.vit import Vit
from mm_models.backbones.vit_head import MapHead
from mm_models.checkpoints.keys import vit_fields
from mm_models.checkpoints.mapping import Place, Source, joined, reshaped, same
from mm_models.checkpoints.renamed_source import RenamedSource
from mm_models.errors import UserError
from mm_models.layers.transformer.attention import MultiHeadAttention
from mm_models.layers.transformer.mlp import Mlp

_BLOCK = "Transformer/encoderblock_{index}/"
_CLASS, _POSITIONS = "cls", "pos_embedding"
_OLD_POSITIONS = r"^Transformer/(posembed_input/)?pos_embedding$"
# What files put in front of the keys of weights, beside the optimizer's own: with its state, and of
# the optimizers of before Flax' linen.
_PREFIXES = ("params/", "opt/target/", "target/")
_TOWER = "img/"
# Of an attention head that stood at the top level while ViT-G was made.
_HEAD_PARTS = ("probe", "MlpBlock_", "MultiHeadDotProductAttention_", "LayerNorm_")
_NUMBERED = re.compile(r"([A-Z]\w*)_(\d+)")


def canonical(source: RenamedSource, model: Vit) -> RenamedSource:
    """Any variant of a file with the keys of today's big_vision.

    Optimizer states are left out, blocks stacked along their first axis are taken apart, and the
    numbers of before Flax' linen, positions within the encoder, an inlined attention head and a
    class token's row in the position table are brought to where they are now. What belongs to
    another tower keeps its key.

    Source: big_vision (fix_old_checkpoints).
    """
    for prefix in _PREFIXES:
        if any(key.startswith(prefix) for key in source.shapes):
            source = source.below(prefix)
    source = source.renamed(lambda key: key.removeprefix(_TOWER))
    source = source.unstacked("^Transformer/encoderblock/", _BLOCK)
    source = source.substituted((_OLD_POSITIONS, _POSITIONS))
    if "probe" in source.shapes:
        source = source.renamed(
            lambda key: f"MAPHead_0/{key}" if key.startswith(_HEAD_PARTS) else key
        )
    return _with_class_row(_renumbered(source), model)


def _renumbered(source: RenamedSource) -> RenamedSource:
    """Modules of one class counted among themselves, where they were counted among all."""
    numbers: dict[tuple[str, str], set[int]] = {}
    for key in source.shapes:
        names = key.split("/")
        for depth, name in enumerate(names):
            if found := _NUMBERED.fullmatch(name):
                scope = ("/".join(names[:depth]), found[1])
                numbers.setdefault(scope, set()).add(int(found[2]))

    def change(key: str) -> str:
        names = key.split("/")
        changed = []
        for depth, name in enumerate(names):
            if found := _NUMBERED.fullmatch(name):
                known = sorted(numbers["/".join(names[:depth]), found[1]])
                name = f"{found[1]}_{known.index(int(found[2]))}"
            changed.append(name)
        return "/".join(changed)

    return source.renamed(change)


def _with_class_row(source: RenamedSource, model: Vit) -> RenamedSource:
    """The row of the class token in the position table, where the model has it.

    A table with such a row has a square number of rows and one. A model without a position for its
    token gets the sum of the two as the token; a model with one gets zeros where a file has none.
    """
    shape = source.shapes.get(_POSITIONS)
    if shape is None or len(shape) != 3 or _CLASS not in source.shapes:
        return source
    has_row = not _is_square(shape[1]) and _is_square(shape[1] - 1)
    if has_row and not model.config.class_position:
        token, rest = source.shapes[_CLASS], (1, shape[1] - 1, shape[2])
        source = source.computed(_CLASS, token, lambda cls, t: cls + t[:, :1], _CLASS, _POSITIONS)
        return source.computed(_POSITIONS, rest, lambda table: table[:, 1:], _POSITIONS)
    if not has_row and model.config.class_position:
        longer = (1, shape[1] + 1, shape[2])
        return source.computed(
            _POSITIONS,
            longer,
            lambda table: np.concatenate([np.zeros_like(table[:, :1]), table], axis=1),
            _POSITIONS,
        )
    return source


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count


def places(model: Vit, source: Source | None = None) -> list[Place]:
    """A place for every weight of a Vit, whatever the source has.

    The position of a class token, where the model has one, is the first row of the table, as in
    the files of the first vision transformers.
    """
    del source
    return sorted(_places(model), key=lambda place: place.key)


def check(model: Vit, source: Source) -> None:
    """Raises UserError where the shapes of a file are those of another vision transformer."""
    shapes = canonical(RenamedSource(source), model).shapes
    block = _BLOCK.format(index=0)
    # Of one array each, the axis that is the field.
    places = {
        "width": ("embedding/bias", 0),
        "mlp_dim": (f"{block}MlpBlock_0/Dense_0/bias", 0),
        "num_heads": (f"{block}MultiHeadDotProductAttention_0/query/bias", 0),
        "patch_size": ("embedding/kernel", 0),
    }
    there = {
        name: shapes[key][axis]
        for name, (key, axis) in places.items()
        if len(shapes.get(key, ())) > axis
    }
    patch = shapes.get("embedding/kernel", ())[:2]
    if len(set(patch)) > 1:
        raise UserError(
            f"{source.path} is of a vision transformer with rectangular patches ({patch[0]} by "
            f"{patch[1]}), and only those of square ones are read"
        )
    blocks = {key.split("/")[1] for key in shapes if key.startswith(_BLOCK.split("{")[0])}
    vit_fields.check(model, {"depth": len(blocks), **there}, source.path)


def _places(model: Vit) -> Iterator[Place]:
    config, positions = model.config, model.positions
    size = config.patch_size
    kernel = model.patches.projection.kernel
    yield reshaped("embedding/kernel", kernel, (size, size, 3, config.width))
    yield same("embedding/bias", model.patches.projection.bias)
    table = reshaped(
        _POSITIONS,
        positions.table,
        (1, *positions.table.shape),
        resize=lambda table, shape: positions.resized(table, shape[1]),
        resize_axis=1,
    )
    if config.pool == "cls":
        row = (1, 1, config.width)
        yield reshaped(_CLASS, model.class_token.embedding, row)
        if config.class_position:
            position = reshaped("", model.class_token.position, row)
            table = joined(_POSITIONS, [position, table], axis=1)
    yield table
    for index, block in enumerate(model.stack.blocks):
        prefix = _BLOCK.format(index=index)
        yield from _norm(f"{prefix}LayerNorm_0", block.attention_norm)
        yield from _attention(f"{prefix}MultiHeadDotProductAttention_0", block.attention)
        yield from _norm(f"{prefix}LayerNorm_1", block.mlp_norm)
        yield from _mlp(f"{prefix}MlpBlock_0", block.mlp)
    yield from _norm("Transformer/encoder_norm", model.stack.final_norm)
    if config.pool == "map":
        yield from _map_head("MAPHead_0", model.map_head)
    if config.representation_dim:
        yield from _dense("pre_logits", model.pre_logits)
    if config.num_classes:
        yield from _dense("head", model.head)


def _norm(prefix: str, layer: keras.layers.Layer) -> Iterator[Place]:
    """Scale and bias of a layer normalisation."""
    yield same(f"{prefix}/scale", layer.gamma)
    yield same(f"{prefix}/bias", layer.beta)


def _dense(prefix: str, layer: keras.layers.Dense) -> Iterator[Place]:
    yield same(f"{prefix}/kernel", layer.kernel)
    yield same(f"{prefix}/bias", layer.bias)


def _attention(prefix: str, layer: MultiHeadAttention) -> Iterator[Place]:
    """Maps with an axis of heads, which ours have together with that of the head's width."""
    heads = (layer.num_heads, layer.head_dim)
    for name, dense in {"query": layer.q, "key": layer.k, "value": layer.v}.items():
        yield reshaped(f"{prefix}/{name}/kernel", dense.kernel, (dense.kernel.shape[0], *heads))
        yield reshaped(f"{prefix}/{name}/bias", dense.bias, heads)
    yield reshaped(f"{prefix}/out/kernel", layer.o.kernel, (*heads, layer.o.kernel.shape[1]))
    yield same(f"{prefix}/out/bias", layer.o.bias)


def _mlp(prefix: str, layer: Mlp) -> Iterator[Place]:
    yield from _dense(f"{prefix}/Dense_0", layer.wi)
    yield from _dense(f"{prefix}/Dense_1", layer.wo)


def _map_head(prefix: str, head: MapHead) -> Iterator[Place]:
    yield same(f"{prefix}/probe", head.probe)
    yield from _attention(f"{prefix}/MultiHeadDotProductAttention_0", head.attention)
    yield from _norm(f"{prefix}/LayerNorm_0", head.norm)
    yield from _mlp(f"{prefix}/MlpBlock_0", head.mlp)
