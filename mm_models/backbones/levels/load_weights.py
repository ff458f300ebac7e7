"""Weights that Keras wrote for one of its networks, into a backbone of that kind."""

import io
from collections.abc import Sequence
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from mm_models.backbones.levels.base import LevelsBackbone
from mm_models.backbones.levels.keras_networks import KerasLevels
from mm_models.errors import UserError

_REMEDY = "give a file that Keras wrote for a network of this kind"
_NAMES_SHOWN = 4
# How every such file begins.
_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_weights(backbone: LevelsBackbone) -> list[str]:
    """Fills a backbone from the file that its config names, layer by layer, by their names.

    Layers of the file behind the last level, such as a classifier, are left over.

    Args:
        backbone: any; one without a file keeps its weights.

    Returns:
        a line for the log; none without a file.

    Raises:
        UserError: no such file, one of another layout, or one that lacks a layer or has it in
            another shape.
    """
    path = backbone.config.weights
    if not path or not isinstance(backbone, KerasLevels):
        return []
    if not tf.io.gfile.exists(path):
        raise UserError(f"visual.weights is {path!r}, which does not exist; {_REMEDY}")
    # Read as a whole, since HDF5's library reads no files of other machines.
    with tf.io.gfile.GFile(path, "rb") as opened:
        content = opened.read()
    if not content.startswith(_HDF5):
        raise UserError(f"visual.weights is {path!r}, which is no HDF5 file; {_REMEDY}")
    layers = {layer.name: layer for layer in backbone.network.layers if layer.weights}
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            stored = _stored(file)
            values = {name: stored[name] for name in layers if name in stored}
            left_over = len(stored) - len(values)
            arrays = {name: [np.asarray(one) for one in each] for name, each in values.items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"visual.weights is {path!r}, which cannot be read ({error}); {_REMEDY}"
        ) from error
    _check(path, layers, arrays)
    for name, layer in layers.items():
        for variable, value in zip(layer.weights, arrays[name], strict=True):
            variable.assign(value)
    return [f"{backbone.name}: {len(layers)} layers from {path}, {left_over} of it left over"]


def _stored(file: h5py.File) -> dict[str, list[Any]]:
    """Arrays, not read yet, by layer. Raises KeyError or TypeError for another layout."""
    if "layers" in file:
        groups = [group["vars"] for group in file["layers"].values()]
        return {
            _text(group.attrs["name"]): [group[str(index)] for index in range(len(group))]
            for group in groups
            if len(group)
        }
    root = file.get("model_weights", file)
    found = {}
    for name in map(_text, root.attrs["layer_names"]):
        names = [_text(one) for one in root[name].attrs["weight_names"]]
        if names:
            found[name] = [root[name][one] for one in names]
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _check(
    path: str, layers: dict[str, keras.layers.Layer], arrays: dict[str, list[np.ndarray]]
) -> None:
    missing = [name for name in layers if name not in arrays]
    wrong = [
        f"{name} {_shapes(arrays[name])} instead of {_shapes(layer.weights)}"
        for name, layer in layers.items()
        if name in arrays and _shapes(arrays[name]) != _shapes(layer.weights)
    ]
    for faults, verb in ((missing, "lacks"), (wrong, "has in another shape")):
        if faults:
            shown = "; ".join(faults[:_NAMES_SHOWN])
            more = f" and {len(faults) - _NAMES_SHOWN} more" if len(faults) > _NAMES_SHOWN else ""
            raise UserError(
                f"visual.weights is {path!r}, which {verb} {len(faults)} of {len(layers)} layers: "
                f"{shown}{more}; {_REMEDY}"
            )


def _shapes(arrays: Sequence[Any]) -> list[list[int]]:
    return [list(array.shape) for array in arrays]
