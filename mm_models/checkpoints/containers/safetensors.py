"""The safetensors container: one file, or a folder with one or several and a `config.json`.

A file is 8 bytes with the length of a header, the header (JSON: dtype, shape and place of every
array), and the arrays. Nothing in it can run code.
"""

import json
import math
import os
import shutil
import struct
from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np

from mm_models.checkpoints.containers.container import Container
from mm_models.errors import UserError

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
WEIGHTS_FILE = "model.safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
SETTINGS_FILE = "config.json"
_MAX_HEADER_BYTES = 100_000_000
# Arrays start at multiples of this within the file.
_ALIGNMENT_BYTES = 8
_COPIED_BYTES = 1 << 24


class SafetensorsSource:
    """Arrays of one file or of all files of a folder.

    Attributes:
        path, step, shapes: see `mapping.Source`; the step is 0, as no file says one.
        settings: the parsed `config.json` beside the weights, or None.
    """

    def __init__(self, path: str):
        """Reads headers alone. Raises UserError for a damaged file."""
        self.path, self.step = path, 0
        self._places: dict[str, tuple[str, dict[str, Any], int]] = {}
        for file in _files(path):
            header, start = _read_header(file)
            for key, entry in header.items():
                self._places[key] = (file, entry, start)
        self.shapes = {key: tuple(entry["shape"]) for key, (_, entry, _) in self._places.items()}
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        self.settings = _read_settings(os.path.join(folder, SETTINGS_FILE))

    def value(self, key: str) -> np.ndarray:
        """One array, mapped from the file and read when it is used."""
        file, entry, start = self._places[key]
        dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
        if math.prod(shape) == 0:
            return np.zeros(shape, dtype)
        offset = start + entry["data_offsets"][0]
        return np.memmap(file, dtype, mode="r", offset=offset, shape=shape or (1,)).reshape(shape)


class SafetensorsContainer(Container):
    """A file, or a folder with some; written as a folder with `model.safetensors`, the step among
    its metadata, and with `config.json` for settings."""

    def recognises(self, path):
        """Whether `path` is such a file, or a folder with some."""
        if os.path.isdir(path):
            return any(name.endswith((".safetensors", INDEX_SUFFIX)) for name in os.listdir(path))
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            start = file.read(9)
        return len(start) == 9 and start[8:] == b"{" and _header_bytes(start) <= _MAX_HEADER_BYTES

    def open_source(self, path):
        return SafetensorsSource(path)

    def _write(self, values, path, step, settings):
        os.makedirs(path)
        write_file(os.path.join(path, WEIGHTS_FILE), values, step=step)
        if settings is not None:
            with open(os.path.join(path, SETTINGS_FILE), "w", encoding="utf-8") as file:
                file.write(json.dumps(settings, indent=2, sort_keys=True) + "\n")
        return ""


def write_file(path: str, values: Iterable[tuple[str, np.ndarray]], *, step: int = 0) -> None:
    """Writes one file; arrays pass through memory one at a time, by way of `path`.data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "step": str(step)}}
    offset = 0
    with open(f"{path}.data", "w+b") as data, open(path, "wb") as file:
        for key, value in values:
            array = np.ascontiguousarray(value).reshape(np.shape(value))
            data.write(array.tobytes())
            header[key] = {
                "dtype": _NAMES[array.dtype],
                "shape": list(array.shape),
                "data_offsets": [offset, offset + array.nbytes],
            }
            offset += array.nbytes
        text = json.dumps(header, separators=(",", ":")).encode("utf-8")
        text += b" " * (-len(text) % _ALIGNMENT_BYTES)
        file.write(struct.pack("<Q", len(text)) + text)
        data.seek(0)
        shutil.copyfileobj(data, file, _COPIED_BYTES)
    os.remove(f"{path}.data")


def _files(path: str) -> list[str]:
    """The files with arrays: those that the index names, or all of a folder."""
    if not os.path.isdir(path):
        return [path]
    names = sorted(os.listdir(path))
    indices = [name for name in names if name.endswith(INDEX_SUFFIX)]
    if indices:
        listed = _listed(os.path.join(path, indices[0]))
    else:
        listed = [name for name in names if name.endswith(".safetensors")]
    missing = [name for name in listed if name not in names]
    if missing:
        raise UserError(
            f"{path} lacks {', '.join(missing[:3])}, which its {indices[0]} names; download the "
            "folder again"
        )
    return [os.path.join(path, name) for name in listed]


def _listed(index: str) -> list[str]:
    try:
        with open(index, encoding="utf-8") as file:
            return sorted(set(json.load(file)["weight_map"].values()))
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(f"{index} is no readable index of files; download it again") from error


def _header_bytes(start: bytes) -> int:
    return struct.unpack("<Q", start[:8])[0]


def _read_header(path: str) -> tuple[dict[str, Any], int]:
    """The entries of a file's arrays, and where its arrays begin. Raises UserError."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(8)
        length = _header_bytes(start) if len(start) == 8 else size
        content = file.read(length) if length <= min(size, _MAX_HEADER_BYTES) else b""
    try:
        header = json.loads(content)
        header.pop("__metadata__", None)
        ends = [entry["data_offsets"][1] for entry in header.values()]
        kinds = {entry["dtype"] for entry in header.values()}
        wrong = [key for key, entry in header.items() if not _fits(entry)]
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        raise UserError(
            f"{path} is no readable safetensors file (its header is damaged); download it again"
        ) from error
    if wrong:
        raise UserError(
            f"{path} gives {wrong[0]} a place of another length than its shape has (its header is "
            "damaged); download it again"
        )
    if 8 + length + max(ends, default=0) > size:
        raise UserError(f"{path} ends before its last array; download it again")
    if kinds - set(DTYPES):
        raise UserError(
            f"{path} holds arrays of {', '.join(sorted(kinds - set(DTYPES)))}, which are not read; "
            "save the model in float32, float16 or bfloat16"
        )
    return header, 8 + length


def _fits(entry: dict[str, Any]) -> bool:
    """Whether an array's place is as long as its shape says; of unknown kinds that is not known."""
    begin, end = entry["data_offsets"]
    kind = DTYPES.get(entry["dtype"])
    size = end - begin if kind is None else math.prod(entry["shape"]) * kind.itemsize
    return begin >= 0 and size == end - begin


def _read_settings(path: str) -> dict[str, Any] | None:
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise UserError(f"{path} is no readable JSON ({error}); download it again") from error
