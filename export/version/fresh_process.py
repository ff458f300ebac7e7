"""Loads an export as a stranger would and compares its answers with the stored ones.

Run as a script in an isolated interpreter: imports TensorFlow, NumPy and the operation libraries
that it is told, and refuses to import anything of this repository. Prints one line of JSON.
"""

import base64
import importlib
import importlib.abc
import json
import sys

import numpy as np

OURS = ("mm_models", "trainers", "export", "beam_pipelines", "mmstack")


class _Refuse(importlib.abc.MetaPathFinder):
    """Fails every import of this repository's rooms."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in OURS:
            raise ImportError(f"{fullname} must not be needed by an exported model")
        return


def main(version_path: str, libraries: list[str]) -> int:
    """Prints the comparison and returns 0."""
    sys.meta_path.insert(0, _Refuse())
    import tensorflow as tf

    for library in libraries:
        importlib.import_module(library)
    loaded = tf.saved_model.load(version_path)
    differences: dict[str, float] = {}
    with tf.io.gfile.GFile(f"{version_path}/assets.extra/golden.npz", "rb") as file:
        golden = dict(np.load(file, allow_pickle=False))
    for name, number in sorted({tuple(key.split("|")[:2]) for key in golden}):
        inputs, expected = (_arrays(golden, name, number, side) for side in ("in", "out"))
        outputs = loaded.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
        if set(outputs) != set(expected):
            raise SystemExit(f"{name} answers {sorted(outputs)}, expected {sorted(expected)}")
        for key, value in expected.items():
            label, difference = f"{name}.{key}", _difference(outputs[key].numpy(), value)
            differences[label] = max(differences.get(label, 0.0), difference)
    ours = sorted(module for module in sys.modules if module.partition(".")[0] in OURS)
    print(json.dumps({"differences": differences, "imported": ours}))
    return 0


def _arrays(golden: dict, name: str, number: str, side: str) -> dict[str, np.ndarray]:
    prefix = f"{name}|{number}|{side}|"
    return {
        key.removeprefix(prefix): _decoded(array)
        for key, array in golden.items()
        if key.startswith(prefix)
    }


def _decoded(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "S":
        return array
    flat = np.empty(array.size, dtype=object)
    flat[:] = [base64.b64decode(value) for value in array.ravel()]
    return flat.reshape(array.shape)


def _difference(answer: np.ndarray, expected: np.ndarray) -> float:
    if answer.shape != expected.shape or answer.dtype != expected.dtype:
        return float("inf")
    if answer.dtype == object:
        return 0.0 if (answer == expected).all() else float("inf")
    answer, expected = answer.astype(np.float64), expected.astype(np.float64)
    # Sums over many tokens are large, and float32 has no more digits for them.
    difference = np.abs(answer - expected) / np.maximum(1.0, np.abs(expected))
    return float(difference.max()) if np.isfinite(difference).all() else float("inf")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
