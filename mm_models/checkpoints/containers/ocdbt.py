"""Orbax' container: arrays in Zarr, all within one OCDBT database or in folders of their own.

Newer T5X, Flax and big_vision save so. Names of arrays are paths of parameters, joined by dots, or
by tildes in big_vision's files; here they are joined by slashes.
"""

import os
import re
from typing import Any

import numpy as np

from mm_models.checkpoints.containers import zarr
from mm_models.checkpoints.containers.container import Container, Extras
from mm_models.checkpoints.containers.zarr import ZarrArray
from mm_models.errors import UserError

DATABASE_FILE = "manifest.ocdbt"
_SEPARATOR = re.compile(r"[.~/]")


class OcdbtSource:
    """Arrays of one checkpoint; see `mapping.Source`. The step is 0, as arrays do not say one."""

    settings = None

    def __init__(self, path: str):
        """Reads descriptions alone. Raises UserError for a damaged checkpoint."""
        self.path, self.step = path, 0
        self._arrays: dict[str, ZarrArray] = {}
        for name, (store, description) in _stores(path).items():
            key = _SEPARATOR.sub("/", name)
            if key in self._arrays:
                raise UserError(f"{path} holds two arrays whose names become {key}")
            self._arrays[key] = ZarrArray(store, f"{path}: {name}", description)
        self.shapes = {key: array.shape for key, array in self._arrays.items()}

    def value(self, key: str) -> np.ndarray:
        """One array. Raises UserError for a damaged one."""
        return self._arrays[key].read()


class OcdbtContainer(Container):
    """A folder that is read; nothing is written so."""

    def recognises(self, path):
        """Whether `path` is a folder with such a database, or with an array's folder."""
        if not os.path.isdir(path):
            return False
        return os.path.isfile(os.path.join(path, DATABASE_FILE)) or bool(_folders(path))

    def open_source(self, path):
        return OcdbtSource(path)

    def _write(self, values, path, extras: Extras):
        raise UserError(f"--output={path}: no format is written as OCDBT")


def _stores(path: str) -> dict[str, tuple[dict[str, Any], str]]:
    """Where the array of every name lies, and the file that describes it. Raises UserError."""
    if not os.path.isfile(os.path.join(path, DATABASE_FILE)):
        return {
            name: (zarr.folder_store(os.path.join(path, name)), description)
            for name, description in _folders(path).items()
        }
    database = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{path}/"}}
    try:
        keys = zarr.tensorstore().KvStore.open(database).result().list().result()
        pairs = [key.decode("utf-8").rpartition("/") for key in keys]
    except (ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path}/{DATABASE_FILE} is no readable OCDBT database ({zarr.reason(error)}); copy "
            "the checkpoint again"
        ) from error
    found = {
        name: ({**database, "path": f"{name}/"}, last)
        for name, _, last in pairs
        if last in zarr.DRIVERS
    }
    if not found:
        raise UserError(f"{path}/{DATABASE_FILE} holds no arrays; copy the checkpoint again")
    return found


def _folders(path: str) -> dict[str, str]:
    """Folders with an array, and the file that describes it."""
    found = {}
    with os.scandir(path) as entries:
        for entry in entries:
            for description in zarr.DRIVERS:
                if entry.is_dir() and os.path.isfile(os.path.join(entry.path, description)):
                    found[entry.name] = description
    return dict(sorted(found.items()))
