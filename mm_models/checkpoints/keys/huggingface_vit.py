"""What Hugging Face's vision transformers share: blocks, patches, and settings beside weights."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from mm_models.backbones.vit import Vit
from mm_models.checkpoints.containers.safetensors import SETTINGS_FILE
from mm_models.checkpoints.keys import vit_fields
from mm_models.checkpoints.mapping import Place, permuted, reshaped, same, transposed
from mm_models.errors import UserError

# Names of activations to those of `VitConfig.gelu`.
GELUS = {
    "gelu": "erf",
    "gelu_python": "erf",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
}


# Fields of VitConfig to those of `config.json`.
_FIELDS = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "mlp_dim": "intermediate_size",
    "num_heads": "num_attention_heads",
    "patch_size": "patch_size",
    "gelu": "hidden_act",
    "epsilon": "layer_norm_eps",
}
_SIDES = ("image_size", "patch_size")
# What must be so where a file says it, and why.
_NEEDED = {
    "qkv_bias": (True, "our queries, keys and values always have a bias"),
    "num_channels": (3, "our pictures have three colours"),
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


def processor_file(model: Vit, kind: str) -> dict[str, Any]:
    """The `preprocessor_config.json` of an image processor that does what our inputs do: resized by
    linear interpolation, values in [-1, 1]."""
    size = model.config.image_size
    settings = {
        "image_processor_type": kind,
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return {"preprocessor_config.json": settings}


def check_settings(model: Vit, settings: Mapping[str, Any], path: str) -> None:
    """Raises UserError where the config beside weights says what the model's does not.

    Args:
        model: what the weights are for.
        settings: of the vision model; fields that are missing are not compared.
        path: what the error calls the weights.
    """
    file = f"{path}/{SETTINGS_FILE}"
    settings = {**settings, **{name: _side(settings, name, file) for name in _SIDES}}
    for name, (needed, reason) in _NEEDED.items():
        if settings.get(name, needed) != needed:
            raise UserError(
                f"{file} says {name} {settings[name]!r}, and {reason}; give the weights of a model "
                f"with {name} {needed!r}"
            )
    there = {field: settings.get(name) for field, name in _FIELDS.items()}
    there = {field: value for field, value in there.items() if value is not None}
    if isinstance(there.get("gelu"), str):
        there["gelu"] = GELUS.get(there["gelu"], there["gelu"])
    vit_fields.check(model, there, file)


def _side(settings: Mapping[str, Any], name: str, file: str) -> Any:
    """A side in pixels, or height and width. Raises UserError where these differ."""
    side = settings.get(name)
    if not isinstance(side, list):
        return side
    if len(set(map(str, side))) != 1:
        raise UserError(
            f"{file} is of a rectangular vision transformer ({name} {side}), and only those of "
            "square images and patches are read"
        )
    return side[0]
