"""Arrays in folders of compressed chunks: Zarr, version 2, as TensorStore writes it for T5X."""

import json
import math
import os
import zlib
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from mm_models.checkpoints.mapping import Shape
from mm_models.errors import UserError

METADATA_FILE = ".zarray"
_GZIP_WINDOW_BITS = zlib.MAX_WBITS | 32  # reads headers of gzip and of zlib
_COMPRESSORS = (None, "gzip", "zlib")


class ZarrArray:
    """One array, of which only the description is read at first.

    Attributes:
        shape, dtype: of the array.

    Raises:
        UserError: no array is there, or one in a form that is not read.
    """

    def __init__(self, folder: str):
        self.folder = folder
        path = os.path.join(folder, METADATA_FILE)
        try:
            with open(path, encoding="utf-8") as file:
                described = json.load(file)
            self.shape: Shape = tuple(described["shape"])
            self._chunk: Shape = tuple(described["chunks"])
            self.dtype = _dtype(described["dtype"])
            compressor = (described["compressor"] or {}).get("id")
            self._fill = described.get("fill_value") or 0
            self._separator = described.get("dimension_separator", ".")
            plain = not described.get("filters") and described["order"] == "C"
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} does not describe an array ({error}); copy the checkpoint again, with its "
                "hidden files"
            ) from error
        if compressor not in _COMPRESSORS or not plain:
            raise UserError(
                f"{path} says compressor {compressor}, order {described['order']} and filters "
                f"{described.get('filters')}; only gzip, zlib or no compressor, order C and no "
                "filters are read"
            )
        self._compressed = compressor is not None

    def read(self) -> np.ndarray:
        """The whole array. Raises UserError for a damaged chunk."""
        array = np.full(self.shape, self._fill, self.dtype)
        for index in self._indices():
            values = self._read_chunk(index)
            if values is not None:
                place = tuple(
                    slice(i * size, (i + 1) * size)
                    for i, size in zip(index, self._chunk, strict=True)
                )
                # Chunks at the end are as large as the others, and stand out of the array.
                inside = array[place]
                inside[...] = values[tuple(slice(0, size) for size in inside.shape)]
        return array

    def _indices(self) -> Iterator[tuple[int, ...]]:
        counts = [
            math.ceil(size / chunk) for size, chunk in zip(self.shape, self._chunk, strict=True)
        ]
        return np.ndindex(*counts)

    def _read_chunk(self, index: tuple[int, ...]) -> np.ndarray | None:
        """None where nothing but the fill value was written."""
        name = self._separator.join(map(str, index)) or "0"
        path = os.path.join(self.folder, name)
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            content = file.read()
        try:
            if self._compressed:
                content = zlib.decompress(content, _GZIP_WINDOW_BITS)
            return np.frombuffer(content, self.dtype).reshape(self._chunk)
        except (zlib.error, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}); copy the checkpoint again") from error


def _dtype(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def describe(array: np.ndarray) -> dict[str, Any]:
    """How `write` keeps an array: one chunk, compressed with gzip."""
    name = array.dtype.name if array.dtype == ml_dtypes.bfloat16 else array.dtype.str
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
    """Writes one array into a new folder."""
    os.makedirs(folder)
    with open(os.path.join(folder, METADATA_FILE), "w", encoding="utf-8") as file:
        json.dump(describe(array), file)
    packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
    content = packer.compress(np.ascontiguousarray(array).tobytes()) + packer.flush()
    with open(os.path.join(folder, ".".join(["0"] * array.ndim) or "0"), "wb") as file:
        file.write(content)
