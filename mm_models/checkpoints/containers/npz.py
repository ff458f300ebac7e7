"""The container of JAX code bases of Google: a zip archive of NumPy arrays, keys like paths."""

import lzma
import math
import os
import struct
import zipfile
import zlib

import numpy as np

from mm_models.checkpoints.containers import number_types
from mm_models.checkpoints.containers.container import Container
from mm_models.checkpoints.mapping import Shape
from mm_models.errors import UserError

_SUFFIX = ".npy"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What zipfile, its decompressors and NumPy raise for archives and arrays that are damaged.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    OSError,
    EOFError,
    RuntimeError,  # encrypted, or compressed by an unknown method
    OverflowError,
    MemoryError,
)


class NpzSource:
    """Arrays of one file; see `mapping.Source`. The step is 0, as no file says one."""

    settings = None

    def __init__(self, path: str):
        """Reads headers alone. Raises UserError for a damaged file."""
        self.path, self.step = path, 0
        try:
            self._archive = zipfile.ZipFile(path)
            names = self._archive.namelist()
            if len(set(names)) < len(names):
                raise ValueError("it holds two arrays of one name")
            self.shapes = {name.removesuffix(_SUFFIX): self._shape(name) for name in names}
        except _DAMAGE as error:
            raise UserError(f"{path} is no readable .npz ({error}); download it again") from error

    def _shape(self, name: str) -> Shape:
        with self._archive.open(name) as file:
            version = np.lib.format.read_magic(file)
            if version not in _HEADERS:
                raise ValueError(f"{name} has a header of version {version}")
            shape, _, dtype = _HEADERS[version](file)
            start = file.tell()
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which are not read")
        if any(size < 0 for size in shape):
            raise ValueError(f"{name} has the shape {list(shape)}")
        size = self._archive.getinfo(name).file_size
        if start + math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{name} has another length than its shape {list(shape)}")
        return tuple(shape)

    def value(self, key: str) -> np.ndarray:
        """One array; 2-byte values without a type are bfloat16, which NumPy cannot name."""
        try:
            with self._archive.open(f"{key}{_SUFFIX}") as file:
                value = np.lib.format.read_array(file, allow_pickle=False)
                # The archive's checksum is compared where a file ends.
                if file.read(1):
                    raise ValueError("it goes on behind its last value")
            if value.dtype.kind == "V" and value.dtype.itemsize == 2 and not value.dtype.names:
                return value.view(number_types.BFLOAT16)
            number_types.check(value.dtype)
        except _DAMAGE as error:
            raise UserError(
                f"{self.path} has a damaged {key} ({error}); download it again"
            ) from error
        return value


class NpzContainer(Container):
    """One file, written one array at a time; it keeps neither step nor settings."""

    def recognises(self, path):
        """Whether `path` is a zip archive of nothing but NumPy arrays."""
        if not os.path.isfile(path) or not zipfile.is_zipfile(path):
            return False
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except _DAMAGE:
            return False  # what it is called says what it may have been
        return bool(names) and all(name.endswith(_SUFFIX) for name in names)

    def open_source(self, path):
        return NpzSource(path)

    def _write(self, values, path, extras):
        with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
            for key, value in values:
                with archive.open(f"{key}{_SUFFIX}", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
        return ""
