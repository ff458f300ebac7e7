"""Stored requests with the checkpoint's answers: `assets.extra/golden.npz`, without pickles."""

import base64
import pathlib
from collections.abc import Mapping

import numpy as np

from export.signatures.base import Arrays, Signatures
from export.version import layout


def write_golden(
    version_path: str, signatures: Signatures, examples: Mapping[str, list[Arrays]]
) -> None:
    """Writes every example request with the outputs of `signatures.reference`.

    Keys are `<signature>|<number>|in|<input>` and `...|out|<output>`. Strings are stored as base64
    text, since NumPy drops trailing zero bytes of fixed-width strings.
    """
    golden: dict[str, np.ndarray] = {}
    for name, requests in examples.items():
        for number, inputs in enumerate(requests):
            outputs = signatures.reference(name, inputs)
            for direction, arrays in (("in", inputs), ("out", outputs)):
                for key, array in arrays.items():
                    golden[f"{name}|{number}|{direction}|{key}"] = _storable(array)
    folder = pathlib.Path(version_path) / layout.ASSETS_EXTRA
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / layout.GOLDEN_FILE, allow_pickle=False, **golden)


def _storable(array: np.ndarray) -> np.ndarray:
    if array.dtype != object:
        return array
    encoded = [base64.b64encode(value) for value in array.ravel()]
    return np.array(encoded, dtype=bytes).reshape(array.shape)
