"""T5X's container: a folder with the file `checkpoint` and a folder for each large array.

Keys are paths of parameters, such as `encoder/encoder_norm/scale`; what belongs to the optimizer is
left out. Nothing is read with JAX, and nothing in the files can run code.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from mm_models.checkpoints.containers import message_pack, zarr
from mm_models.checkpoints.containers.container import Container, Extras
from mm_models.checkpoints.containers.zarr import ZarrArray
from mm_models.errors import UserError

STATE_FILE = "checkpoint"
_VERSION = 3
# The version before kept the bytes of bfloat16 as uint16 in the arrays beside the file.
_VERSIONS_READ = (2, _VERSION)
_SPEC_KEYS = {"driver", "kvstore"}


class T5xSource:
    """Parameters of one checkpoint; see `mapping.Source`."""

    settings = None

    def __init__(self, path: str):
        """Reads the file and the descriptions of the arrays. Raises UserError for damaged ones."""
        self.path = path
        target, self.step = _read_state(path)
        self._arrays = {key: self._array(key, value) for key, value in _flatten(target, "")}
        self.shapes = {key: tuple(array.shape) for key, array in self._arrays.items()}

    def _array(self, key: str, value: Any) -> np.ndarray | ZarrArray:
        if not isinstance(value, dict):
            if not isinstance(value, np.ndarray | np.generic):
                raise UserError(
                    f"{self.path}/{STATE_FILE} has a {type(value).__name__} for {key}, not an "
                    "array; copy the checkpoint again"
                )
            return np.asarray(value)
        if value["driver"] != "zarr":
            raise UserError(
                f"{self.path} keeps {key} with the driver {value['driver']}; only zarr is read"
            )
        folder = os.path.join(self.path, _relative_path(value))
        array = ZarrArray(zarr.folder_store(folder), folder)
        described = value.get("metadata")
        said = described.get("shape") if isinstance(described, dict) else None
        if said is not None and said != list(array.shape):
            raise UserError(
                f"{folder} holds an array of {list(array.shape)}, and {STATE_FILE} says {said}; "
                "copy the checkpoint again"
            )
        return array

    def value(self, key: str) -> np.ndarray:
        """One array. Raises UserError for a damaged one."""
        array = self._arrays[key]
        if not isinstance(array, ZarrArray):
            return array
        value = array.read()
        return value.view(ml_dtypes.bfloat16) if value.dtype == np.uint16 else value


def _read_state(path: str) -> tuple[dict[str, Any], int]:
    """The parameters, and the step. Raises UserError."""
    file_path = os.path.join(path, STATE_FILE)
    with open(file_path, "rb") as file:
        content = file.read()
    try:
        held = message_pack.unpack(content)
        version, optimizer = held.get("version", 0), held["optimizer"]
        target, state = optimizer["target"], optimizer.get("state", {})
        target.items()
        step = int(state.get("step", 0))
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise UserError(
            f"{file_path} is no readable T5X checkpoint ({error}); copy it again"
        ) from error
    if version not in _VERSIONS_READ:
        raise UserError(
            f"{file_path} is of version {version}, and only {_VERSIONS_READ} are read; save it "
            "again with a T5X of 2021-06 or later"
        )
    return target, step


def _flatten(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Arrays and descriptions of arrays by path."""
    for name, value in tree.items():
        if isinstance(value, dict) and not value.keys() >= _SPEC_KEYS:
            yield from _flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _relative_path(spec: Mapping[str, Any]) -> str:
    """Where an array lies in the checkpoint's folder. Raises UserError for a path out of it."""
    store = spec["kvstore"]
    path = (store.get("path") if isinstance(store, dict) else None) or spec.get("path", "")
    normal = os.path.normpath(path) if isinstance(path, str) and path.isprintable() else ""
    if not path or os.path.isabs(normal) or normal.startswith("..") or normal in ("", "."):
        raise UserError(f"a T5X checkpoint names the array {path!r}, which is not in its folder")
    return normal


class T5xContainer(Container):
    """A folder that T5X reads, written without an optimizer's state but for the step."""

    def recognises(self, path):
        """Whether `path` is a folder with such a file."""
        file_path = os.path.join(path, STATE_FILE)
        if not os.path.isfile(file_path):
            return False
        with open(file_path, "rb") as file:
            first = file.read(1)
        # A map. TensorFlow's file of that name is text.
        return bool(first) and (0x80 <= first[0] < 0x90 or first[0] in (0xDE, 0xDF))

    def open_source(self, path):
        return T5xSource(path)

    def _write(self, values, path, extras: Extras):
        os.makedirs(path)
        target: dict[str, Any] = {}
        for key, value in values:
            *parents, last = key.split("/")
            node = target
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = _write_array(path, key, np.asarray(value))
        state = {"step": np.array(extras.step, np.int32), "param_states": {}}
        content = {"version": _VERSION, "optimizer": {"target": target, "state": state}}
        with open(os.path.join(path, STATE_FILE), "wb") as file:
            file.write(message_pack.pack(content))
        return ""


def _write_array(folder: str, key: str, array: np.ndarray) -> dict[str, Any]:
    """Writes one array beside the file; what the file says of it."""
    name = f"target.{key.replace('/', '.')}"
    zarr.write(os.path.join(folder, name), array)
    return {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": name},
        "metadata": zarr.describe(array),
    }
