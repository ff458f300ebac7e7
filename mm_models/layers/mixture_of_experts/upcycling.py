"""Experts that start as copies of a dense feed-forward half.

Right after copying, every expert is the dense half, so that a token's output is that half's times
the sum of the gates of the experts that took it: zero for a token left behind, the dense output
itself where all experts take the token, since the gates of all experts sum to 1.

Source: Sparse Upcycling, section 3.
"""

import zlib
from collections.abc import Iterable

import keras
import numpy as np

from mm_models.layers.mixture_of_experts.layer import MixtureOfExperts

# What `TransformerBlock` calls the dense half; its parts have the names of those of the experts.
DENSE_NAME = "mlp"


def expert_layers(layers: Iterable[keras.layers.Layer]) -> list[MixtureOfExperts]:
    """Those of some layers that are mixtures of experts."""
    return [layer for layer in layers if isinstance(layer, MixtureOfExperts)]


def dense_paths(layer: MixtureOfExperts) -> dict[str, str]:
    """Path of each of the experts' variables to that of its likeness in a dense block."""
    parent = layer.path.rpartition("/")[0]
    found = {}
    for part in (layer.wi, layer.wo):
        for weight in part.weights:
            name = weight.path.removeprefix(f"{layer.path}/")
            found[weight.path] = "/".join(filter(None, (parent, DENSE_NAME, name)))
    return found


def copies(
    value: np.ndarray, num_experts: int, *, noise: float, seed: int, path: str
) -> np.ndarray:
    """A dense variable once for every expert.

    Args:
        value: float[...].
        num_experts: copies.
        noise: standard deviation of what is added to each copy, relative to that of `value`; copies
            without it part only by what each expert is given to read.
        seed, path: of the run and of the variable, which together fix the noise.

    Returns:
        float32[num_experts, ...].
    """
    tiled = np.repeat(np.asarray(value, np.float32)[np.newaxis], num_experts, axis=0)
    if noise:
        random = np.random.default_rng([seed, zlib.crc32(path.encode("utf-8"))])
        tiled += noise * value.std() * random.standard_normal(tiled.shape, np.float32)
    return tiled.astype(np.float32)
