"""What Hugging Face's vision transformers share: blocks, patches, and settings beside weights."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from mm_models.backbones.vit import Vit
from mm_models.checkpoints.containers.safetensors import SETTINGS_FILE
from mm_models.checkpoints.keys import vit_fields
from mm_models.checkpoints.mapping import Place, permuted, reshaped, same, transposed

# Names of activations to those of `VitConfig.gelu`.
GELUS = {
    "gelu": "erf",
    "gelu_python": "erf",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
}


def dense(prefix: str, layer: keras.layers.Dense) -> Iterator[Place]:
    """Weight and bias of a linear map."""
    yield transposed(f"{prefix}.weight", layer.kernel)
    yield same(f"{prefix}.bias", layer.bias)


def norm(prefix: str, layer: keras.layers.Layer) -> Iterator[Place]:
    """Weight and bias of a layer normalisation."""
    yield same(f"{prefix}.weight", layer.gamma)
    yield same(f"{prefix}.bias", layer.beta)


def patches(prefix: str, model: Vit) -> Iterator[Place]:
    """The convolution [width, 3, height, width] that maps patches."""
    size, projection = model.config.patch_size, model.patches.projection
    shape = (model.config.width, 3, size, size)
    yield permuted(f"{prefix}.weight", projection.kernel, shape, (2, 3, 1, 0))
    yield same(f"{prefix}.bias", projection.bias)


def position_table(model: Vit, *leading: int) -> Place:
    """The rows of patches as [*leading, rows, width]."""
    positions = model.positions
    axis = len(leading)
    return reshaped(
        "",
        positions.table,
        (*leading, *positions.table.shape),
        resize=lambda table, shape: positions.resized(table, shape[axis]),
        resize_axis=axis,
    )


def shared_settings(model: Vit) -> dict[str, Any]:
    """Fields of `config.json` that all of these models have."""
    config = model.config
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "intermediate_size": config.mlp_dim,
        "num_attention_heads": config.num_heads,
        "patch_size": config.patch_size,
        "image_size": config.image_size,
        "num_channels": 3,
        "hidden_act": "gelu_pytorch_tanh" if config.gelu == "tanh" else "gelu",
        "layer_norm_eps": config.epsilon,
    }


def label_settings(model: Vit) -> dict[str, Any]:
    """Fields of `config.json` for a classifier, whose classes have no names here."""
    names = [f"LABEL_{index}" for index in range(model.config.num_classes)]
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def check_settings(model: Vit, settings: Mapping[str, Any], path: str) -> None:
    """Raises UserError where the config beside weights says what the model's does not.

    Args:
        model: what the weights are for.
        settings: of the vision model; fields that are missing are not compared.
        path: what the error calls the weights.
    """
    names = {
        "width": "hidden_size",
        "depth": "num_hidden_layers",
        "mlp_dim": "intermediate_size",
        "num_heads": "num_attention_heads",
        "patch_size": "patch_size",
        "gelu": "hidden_act",
        "epsilon": "layer_norm_eps",
    }
    there = {field: settings[name] for field, name in names.items() if name in settings}
    if "gelu" in there:
        there["gelu"] = GELUS.get(there["gelu"], there["gelu"])
    vit_fields.check(model, there, f"{path}/{SETTINGS_FILE}")
