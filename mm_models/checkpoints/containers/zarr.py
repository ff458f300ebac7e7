"""Arrays in chunks: Zarr, in folders or within an OCDBT database, as T5X and Orbax keep them.

Read and written by the package tensorstore, which is imported when the first array is opened. What
a file says is never handed to it as a specification: only paths that this project made are opened.
"""

import functools
import math
import types
from typing import Any

import numpy as np

from mm_models.checkpoints.containers import number_types
from mm_models.checkpoints.mapping import Shape
from mm_models.errors import UserError

# The file that describes an array, to the driver of that version of Zarr.
DRIVERS = {".zarray": "zarr", "zarr.json": "zarr3"}


@functools.cache
def tensorstore() -> types.ModuleType:
    """The package. Raises UserError where it is not installed."""
    try:
        import tensorstore as package
    except ImportError as error:
        raise UserError(
            "arrays in Zarr or OCDBT are read and written by the package tensorstore, which is not "
            "installed; install it with `pip install tensorstore`"
        ) from error
    return package


def folder_store(path: str) -> dict[str, Any]:
    """Where an array lies that has a folder of its own."""
    return {"driver": "file", "path": f"{path}/"}


class ZarrArray:
    """One array, of which only the description is read at first.

    A chunk that is not there is damage: the format lets it stand for zeros, but so does a copy that
    lost it.

    Attributes:
        name: what errors call it.
        shape, dtype: of the array.

    Raises:
        UserError: no array is there, one that cannot be read, or tensorstore is not installed.
    """

    def __init__(self, store: dict[str, Any], name: str, description: str = ".zarray"):
        self.name = name
        spec = {
            "driver": DRIVERS[description],
            "kvstore": store,
            "fill_missing_data_reads": False,
        }
        try:
            self._store = tensorstore().open(spec, open=True, read=True, write=False).result()
            self.dtype = np.dtype(self._store.dtype.numpy_dtype)
            number_types.check(self.dtype)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise UserError(
                f"{name} does not describe an array ({reason(error)}); copy the checkpoint again, "
                "with its hidden files"
            ) from error
        self.shape: Shape = tuple(self._store.shape)

    def read(self) -> np.ndarray:
        """The whole array. Raises UserError for a chunk that is missing or damaged."""
        try:
            # What tensorstore cannot allocate ends the process.
            for shape in (self.shape, self._store.chunk_layout.read_chunk.shape):
                number_types.check_memory(shape, self.dtype)
            return self._store.read().result()
        except (ValueError, NotImplementedError, MemoryError) as error:
            raise UserError(
                f"{self.name} is damaged ({reason(error)}); copy the checkpoint again"
            ) from error


def reason(error: Exception) -> str:
    """What tensorstore says, without the specification that it repeats."""
    return " ".join(str(error).partition("[tensorstore_spec")[0].split())[:300]


def describe(array: np.ndarray) -> dict[str, Any]:
    """How `write` keeps an array: one chunk, compressed with gzip."""
    name = "bfloat16" if array.dtype == number_types.BFLOAT16 else array.dtype.str
    return {
        "chunks": [max(size, 1) for size in array.shape],
        "compressor": {"id": "gzip", "level": 1},
        "dtype": name,
        "fill_value": None,
        "filters": None,
        "order": "C",
        "shape": list(array.shape),
        "zarr_format": 2,
    }


def write(folder: str, array: np.ndarray) -> None:
    """Writes one array into a new folder, zeros too."""
    spec = {
        "driver": "zarr",
        "kvstore": folder_store(folder),
        "metadata": describe(array),
        "store_data_equal_to_fill_value": True,
    }
    try:
        store = tensorstore().open(spec, create=True).result()
        if math.prod(array.shape):
            store.write(array).result()
    except ValueError as error:
        raise OSError(reason(error)) from error
