"""The safetensors container: one file, or a folder with one or several and a `config.json`.

A file is 8 bytes with the length of a header, the header (JSON: dtype, shape and place of every
array), and the arrays. Nothing in it can run code. Files are read by the package safetensors, and
written here, since the package wants all arrays of a file in memory at once.
"""

import json
import os
import shutil
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import safetensors

from mm_models.checkpoints.containers import number_types
from mm_models.checkpoints.containers.container import Container, Extras
from mm_models.errors import UserError

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": number_types.BFLOAT16,
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
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
        self._files: dict[str, tuple[str, Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in _files(path):
            opened = _open(file)
            for key, shape in _shapes(opened, file).items():
                if key in self._files:
                    raise UserError(
                        f"{self._files[key][0]} and {file} both hold {key}; give the path of the "
                        "file that is meant"
                    )
                self._files[key] = (file, opened)
                self.shapes[key] = shape
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        self.settings = _read_settings(os.path.join(folder, SETTINGS_FILE))

    def value(self, key: str) -> np.ndarray:
        """One array, read when it is asked for. Raises UserError for a damaged one."""
        path, opened = self._files[key]
        try:
            return opened.get_tensor(key)
        except (safetensors.SafetensorError, ValueError, OSError, MemoryError) as error:
            raise UserError(f"{path} has a damaged {key} ({error}); download it again") from error


class SafetensorsContainer(Container):
    """A file, or a folder with some; written as a folder with `model.safetensors`, or with several
    files and their index, the step among the metadata of each, and with `config.json` for settings.
    """

    shards = True

    def recognises(self, path):
        """Whether `path` is such a file, or a folder with some."""
        if os.path.isdir(path):
            return any(name.endswith((".safetensors", INDEX_SUFFIX)) for name in os.listdir(path))
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            start = file.read(9)
        if len(start) < 9 or start[8:] != b"{":
            return False
        return struct.unpack("<Q", start[:8])[0] <= _MAX_HEADER_BYTES

    def open_source(self, path):
        return SafetensorsSource(path)

    def _write(self, values, path, extras: Extras):
        os.makedirs(path)
        names, sizes = {}, []
        for number, shard in enumerate(_shards(values, extras.shard_bytes)):
            held = write_file(os.path.join(path, str(number)), shard, step=extras.step)
            names.update(dict.fromkeys(held, number))
            sizes.append(sum(held.values()))
        files = [WEIGHTS_FILE]
        if len(sizes) > 1:
            last = len(sizes)
            files = [f"model-{n:05d}-of-{last:05d}.safetensors" for n in range(1, last + 1)]
            index = {
                "metadata": {"total_size": sum(sizes)},
                "weight_map": {key: files[number] for key, number in names.items()},
            }
            _write_beside(os.path.join(path, f"model{INDEX_SUFFIX}"), index)
        for number, name in enumerate(files):
            os.rename(os.path.join(path, str(number)), os.path.join(path, name))
        if extras.settings is not None:
            _write_beside(os.path.join(path, SETTINGS_FILE), extras.settings)
        for name, content in extras.files.items():
            _write_beside(os.path.join(path, name), content)
        return ""


def _shards(
    values: Iterable[tuple[str, np.ndarray]], limit: int
) -> Iterator[Iterator[tuple[str, np.ndarray]]]:
    """The arrays in groups of at most `limit` bytes; each is to be used up before the next."""
    remaining = iter(values)
    waiting = [next(remaining, None)]

    def group() -> Iterator[tuple[str, np.ndarray]]:
        size = 0
        while waiting[0] is not None:
            size += waiting[0][1].nbytes
            if limit and size > limit and size > waiting[0][1].nbytes:
                return
            yield waiting[0]
            waiting[0] = next(remaining, None)

    yield group()
    while waiting[0] is not None:
        yield group()


def write_file(
    path: str, values: Iterable[tuple[str, np.ndarray]], *, step: int = 0
) -> dict[str, int]:
    """Writes one file; arrays pass through memory one at a time, by way of `path`.data.

    Returns:
        Bytes of every array.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "step": str(step)}}
    sizes: dict[str, int] = {}
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
            sizes[key] = array.nbytes
            offset += array.nbytes
        text = json.dumps(header, separators=(",", ":")).encode("utf-8")
        text += b" " * (-len(text) % _ALIGNMENT_BYTES)
        file.write(struct.pack("<Q", len(text)) + text)
        data.seek(0)
        shutil.copyfileobj(data, file, _COPIED_BYTES)
    os.remove(f"{path}.data")
    return sizes


def _write_beside(path: str, content: Any) -> None:
    """Bytes as they are, all else as JSON."""
    if not isinstance(content, bytes):
        content = (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8")
    with open(path, "wb") as file:
        file.write(content)


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
            names = set(json.load(file)["weight_map"].values())
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a file's name is no text")
        return sorted(names)
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{index} is no readable index of files; download it again") from error


def _open(path: str) -> Any:
    """The opened file, whose header the package has checked. Raises UserError."""
    try:
        return safetensors.safe_open(path, framework="np")
    except (safetensors.SafetensorError, ValueError, OSError, MemoryError) as error:
        raise UserError(
            f"{path} is no readable safetensors file ({error}); download it again"
        ) from error


def _shapes(opened: Any, path: str) -> dict[str, tuple[int, ...]]:
    """Of every array. Raises UserError where one has numbers that are not read."""
    arrays = {key: opened.get_slice(key) for key in opened.offset_keys()}
    others = sorted({array.get_dtype() for array in arrays.values()} - set(DTYPES))
    if others:
        raise UserError(
            f"{path} holds arrays of {', '.join(others)}, which are not read; save the model in "
            "float32, float16 or bfloat16"
        )
    return {key: tuple(array.get_shape()) for key, array in arrays.items()}


def _read_settings(path: str) -> dict[str, Any] | None:
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no readable JSON ({error}); download it again") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path} holds no settings by name; download it again")
    return settings
