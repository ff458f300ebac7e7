"""The names that a published VATT checkpoint gives to the weights of our models.

A name is the path of an object below the root `model`, as TensorFlow's object-based checkpoints
write it. The names were taken from the released code's own objects, because the published files
could not be opened here.
"""

import dataclasses
from collections.abc import Iterator

import keras

from mm_models.errors import UserError
from mm_models.layers.batch_norm import SyncBatchNorm
from mm_models.layers.normalization import RmsNorm
from mm_models.layers.positions import AxisPositions
from mm_models.layers.transformer import TransformerStack
from mm_models.vatt.classifier import VattClassifier
from mm_models.vatt.encoders import VattEncoders
from mm_models.vatt.head import Head
from mm_models.vatt.model import VattModel
from mm_models.vatt.tokens import PatchTokens
from mm_models.vatt.towers import SharedEncoder, Tower

ROOT = "model/layer_with_weights-0"
TOWERS = {
    "video": f"{ROOT}/_base_layer/vid_backbone/_base",
    "audio": f"{ROOT}/_base_layer/aud_backbone/_base",
    "text": f"{ROOT}/_base_layer/txt_backbone",
}
SHARED = f"{ROOT}/_base_layer/unified_backbone/unified_transformer"
HEAD = f"{ROOT}/_head_layer/_bridge_heads/0"
CLASSIFIER_TOWER = f"{ROOT}/_base"
CLASSIFIER = f"{ROOT}/_ops/cls"
PATCH_MAPS = {"video": "voxel_to_patch", "audio": "wave_to_patch"}
SHORT = {"video": "vid", "audio": "aud", "text": "txt"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One weight and its place in a published checkpoint.

    Attributes:
        key: path of the variable, without the suffix that all of them have.
        variable: ours.
        shape: there; the same numbers in the same order as ours.
        is_position_table: whether another number of rows may be resampled.
    """

    key: str
    variable: keras.Variable
    shape: tuple[int, ...]
    is_position_table: bool = False


def entries(model: VattEncoders) -> list[Entry]:
    """A place for every weight of a VattModel or VattClassifier.

    Raises:
        UserError: the model is of a kind that was not published.
    """
    _check_published(model)
    if isinstance(model, VattClassifier):
        found = [
            *_tower(CLASSIFIER_TOWER, model.modality, model.tower(model.modality)),
            *_dense(CLASSIFIER, model.classifier),
        ]
    elif model.config.variant == "agnostic":
        found = [*_shared(SHARED, model.encoder), *_head(HEAD, model.head)]
    else:
        found = _head(HEAD, model.head)
        for modality in model.config.modalities:
            found = [*found, *_tower(TOWERS[modality], modality, model.tower(modality))]
    return sorted(found, key=lambda entry: entry.key)


def _check_published(model: VattEncoders) -> None:
    config = model.config
    if not config.position_layer_norm:
        raise UserError(
            "published checkpoints are of the released code's model, which normalises positions; "
            "set task.model.preset to reference_code"
        )
    if "audio" in config.modalities and config.audio.input != "waveform":
        raise UserError(
            f"task.model.audio.input is {config.audio.input!r}, of which no checkpoint was "
            "published; set it to waveform"
        )
    if isinstance(model, VattClassifier):
        if config.variant == "agnostic" or model.modality == "text":
            raise UserError(
                "fine-tuned checkpoints were published for video and audio towers of the specific "
                f"variant alone, not for {model.modality} of the {config.variant} one"
            )
    elif not isinstance(model, VattModel):
        raise UserError(f"{type(model).__name__} is no VATT model with published checkpoints")
    elif config.head.preset != "reference_code":
        raise UserError(
            f"the head is of kind {config.head.kind!r} and preset {config.head.preset!r}; set "
            "task.model.head to what published checkpoints have, kind fac and preset reference_code"
        )


def _same(key: str, variable: keras.Variable) -> Entry:
    return Entry(key, variable, tuple(variable.shape))


def _dense(prefix: str, layer: keras.layers.Dense) -> Iterator[Entry]:
    yield _same(f"{prefix}/kernel", layer.kernel)
    if layer.use_bias:
        yield _same(f"{prefix}/bias", layer.bias)


def _norm(prefix: str, layer: keras.layers.Layer) -> Iterator[Entry]:
    if isinstance(layer, RmsNorm):
        yield _same(f"{prefix}/weight", layer.scale)
        return
    yield _same(f"{prefix}/gamma", layer.gamma)
    yield _same(f"{prefix}/beta", layer.beta)
    if isinstance(layer, SyncBatchNorm):
        yield _same(f"{prefix}/moving_mean", layer.moving_mean)
        yield _same(f"{prefix}/moving_variance", layer.moving_variance)


def _stack(prefix: str, stack: TransformerStack, attention: str, norm: str) -> Iterator[Entry]:
    """Blocks; `attention` and `norm` are where a block keeps its attention and the norm before."""
    for index, block in enumerate(stack.blocks):
        path = f"{prefix}/layers/{index}"
        yield from _norm(f"{path}/{norm}", block.attention_norm)
        for name in ("q", "k", "v", "o"):
            yield from _dense(f"{path}/{attention}/{name}", getattr(block.attention, name))
        yield from _norm(f"{path}/feed_forward/layer_norm", block.mlp_norm)
        for name in ("wi", "wo"):
            yield from _dense(f"{path}/feed_forward/mlp/{name}", getattr(block.mlp, name))
    yield from _norm(f"{prefix}/final_layer_norm", stack.final_norm)


def _patch_map(prefix: str, modality: str, tokens: PatchTokens) -> Iterator[Entry]:
    """The kernel of a convolution over patches, which we keep as a matrix."""
    layer = tokens.patches
    channels = layer.num_channels if modality == "video" else 1
    shape = (*layer.patch_shape, channels, layer.dim)
    yield Entry(f"{prefix}/kernel", layer.projection.kernel, shape)
    yield _same(f"{prefix}/bias", layer.projection.bias)


def _positions(prefix: str, positions: AxisPositions) -> Iterator[Entry]:
    for axis, table in zip(positions.axes, positions.tables, strict=True):
        key = f"{prefix}/{axis}_position_embeddings/embeddings"
        yield Entry(key, table, tuple(table.shape), is_position_table=True)
    yield from _norm(f"{prefix}/layernorm", positions.layer_norm)


def _tower(prefix: str, modality: str, tower: Tower) -> Iterator[Entry]:
    tokens = tower.tokens
    yield _same(f"{prefix}/agg_embedding", tokens.aggregate.embedding)
    if modality == "text":
        yield _same(f"{prefix}/embedding/embeddings", tokens.words.embeddings)
        yield from _dense(f"{prefix}/pre_proj", tokens.pre_projection)
        # One table for all layers; the first one holds it.
        bias = "layers/0/self_attention/attention/relative_attention_bias/embeddings"
        yield _same(f"{prefix}/base_lm/{bias}", tower.relative_bias.embeddings)
        yield from _stack(
            f"{prefix}/base_lm",
            tower.stack,
            "self_attention/attention",
            "self_attention/layer_norm",
        )
        return
    yield from _patch_map(f"{prefix}/{PATCH_MAPS[modality]}", modality, tokens)
    yield from _positions(f"{prefix}/pos_embedding_lookup", tokens.positions)
    yield from _stack(f"{prefix}/tx", tower.stack, "mha", "layer_norm")


def _shared(prefix: str, encoder: SharedEncoder) -> Iterator[Entry]:
    for modality in encoder.config.modalities:
        tokens = getattr(encoder, f"{modality}_tokens")
        raw = f"{prefix}/raw_to_embeddings/{modality}"
        if modality == "text":
            yield _same(f"{raw}/embeddings", tokens.words.embeddings)
        else:
            yield from _patch_map(raw, modality, tokens)
        yield from _dense(f"{prefix}/pre_proj/{modality}", tokens.pre_projection)
        yield from _positions(f"{prefix}/pos_embedding_lookup/{modality}", tokens.positions)
        yield _same(f"{prefix}/{SHORT[modality]}_agg_embedding", tokens.aggregate.embedding)
        after = getattr(encoder, f"{modality}_post_projection")
        yield from _dense(f"{prefix}/post_proj/{modality}", after)
    yield from _stack(f"{prefix}/tx", encoder.stack, "mha", "layer_norm")


def _head(prefix: str, head: Head) -> Iterator[Entry]:
    """The norm behind the video's first map is stored with the second one."""
    maps = head.maps
    yield from _dense(f"{prefix}/vid_to_hid", maps["video_hidden"].dense)
    yield from _norm(f"{prefix}/hid_to_va/pre_bn", maps["video_hidden"].norm)
    places = {
        "video_to_va": ("hid_to_va/dense", "hid_to_va/bn"),
        "va_to_vt": ("va_to_vat/dense", "va_to_vat/bn"),
        "audio_to_va": ("aud_to_va", ""),
        "text_to_vt": ("txt_to_vat", ""),
    }
    for name, (dense, norm) in places.items():
        if name in maps:
            yield from _dense(f"{prefix}/{dense}", maps[name].dense)
            if norm:
                yield from _norm(f"{prefix}/{norm}", maps[name].norm)
