"""The names that a published VATT checkpoint gives to the weights of our models.

A name is the path of an object below the root `model`, as TensorFlow's object-based checkpoints
write it. The names were taken from the released code's own objects, because the published files
could not be opened here.
"""

from collections.abc import Iterator

import keras
import numpy as np

from mm_models.checkpoints.mapping import Place, Shape, Source, reshaped, same
from mm_models.errors import UserError
from mm_models.layers.batch_norm import SyncBatchNorm
from mm_models.layers.tokens.positions import AxisPositions, resample_table
from mm_models.layers.transformer.normalization import RmsNorm
from mm_models.layers.transformer.stack import TransformerStack
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


def places(model: VattEncoders, source: Source | None = None) -> list[Place]:
    """A place for every weight of a VattModel or VattClassifier, whatever the source has.

    Raises:
        UserError: the model is of a kind that was not published.
    """
    del source
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
    return sorted(found, key=lambda place: place.key)


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


def _dense(prefix: str, layer: keras.layers.Dense) -> Iterator[Place]:
    yield same(f"{prefix}/kernel", layer.kernel)
    if layer.use_bias:
        yield same(f"{prefix}/bias", layer.bias)


def _norm(prefix: str, layer: keras.layers.Layer) -> Iterator[Place]:
    if isinstance(layer, RmsNorm):
        yield same(f"{prefix}/weight", layer.scale)
        return
    yield same(f"{prefix}/gamma", layer.gamma)
    yield same(f"{prefix}/beta", layer.beta)
    if isinstance(layer, SyncBatchNorm):
        yield same(f"{prefix}/moving_mean", layer.moving_mean)
        yield same(f"{prefix}/moving_variance", layer.moving_variance)


def _stack(prefix: str, stack: TransformerStack, attention: str, norm: str) -> Iterator[Place]:
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


def _patch_map(prefix: str, modality: str, tokens: PatchTokens) -> Iterator[Place]:
    """The kernel of a convolution over patches, which we keep as a matrix."""
    layer = tokens.patches
    channels = layer.num_channels if modality == "video" else 1
    shape = (*layer.patch_shape, channels, layer.dim)
    yield reshaped(f"{prefix}/kernel", layer.projection.kernel, shape)
    yield same(f"{prefix}/bias", layer.projection.bias)


def _resize(table: np.ndarray, shape: Shape) -> np.ndarray:
    return resample_table(table, shape[0])


def _positions(prefix: str, positions: AxisPositions) -> Iterator[Place]:
    for axis, table in zip(positions.axes, positions.tables, strict=True):
        key = f"{prefix}/{axis}_position_embeddings/embeddings"
        yield same(key, table, resize=_resize)
    yield from _norm(f"{prefix}/layernorm", positions.layer_norm)


def _tower(prefix: str, modality: str, tower: Tower) -> Iterator[Place]:
    tokens = tower.tokens
    yield same(f"{prefix}/agg_embedding", tokens.aggregate.embedding)
    if modality == "text":
        yield same(f"{prefix}/embedding/embeddings", tokens.words.embeddings)
        yield from _dense(f"{prefix}/pre_proj", tokens.pre_projection)
        # One table for all layers; the first one holds it.
        bias = "layers/0/self_attention/attention/relative_attention_bias/embeddings"
        yield same(f"{prefix}/base_lm/{bias}", tower.relative_bias.embeddings)
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


def _shared(prefix: str, encoder: SharedEncoder) -> Iterator[Place]:
    for modality in encoder.config.modalities:
        tokens = getattr(encoder, f"{modality}_tokens")
        raw = f"{prefix}/raw_to_embeddings/{modality}"
        if modality == "text":
            yield same(f"{raw}/embeddings", tokens.words.embeddings)
        else:
            yield from _patch_map(raw, modality, tokens)
        yield from _dense(f"{prefix}/pre_proj/{modality}", tokens.pre_projection)
        yield from _positions(f"{prefix}/pos_embedding_lookup/{modality}", tokens.positions)
        yield same(f"{prefix}/{SHORT[modality]}_agg_embedding", tokens.aggregate.embedding)
        after = getattr(encoder, f"{modality}_post_projection")
        yield from _dense(f"{prefix}/post_proj/{modality}", after)
    yield from _stack(f"{prefix}/tx", encoder.stack, "mha", "layer_norm")


def _head(prefix: str, head: Head) -> Iterator[Place]:
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
