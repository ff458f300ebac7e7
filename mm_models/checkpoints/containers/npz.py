"""The container of JAX code bases of Google: a zip archive of NumPy arrays, keys like paths."""

import os
import zipfile

import ml_dtypes
import numpy as np

from mm_models.checkpoints.containers.container import Container
from mm_models.checkpoints.mapping import Shape
from mm_models.errors import UserError

_SUFFIX = ".npy"


class NpzSource:
    """Arrays of one file; see `mapping.Source`. The step is 0, as no file says one."""

    settings = None

    def __init__(self, path: str):
        """Reads headers alone. Raises UserError for a damaged file."""
        self.path, self.step = path, 0
        try:
            self._archive = zipfile.ZipFile(path)
            names = self._archive.namelist()
            self.shapes = {name.removesuffix(_SUFFIX): self._shape(name) for name in names}
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise UserError(f"{path} is no readable .npz ({error}); download it again") from error

    def _shape(self, name: str) -> Shape:
        with self._archive.open(name) as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in read:
                raise ValueError(f"{name} has a header of version {version}")
            shape, _, dtype = read[version](file)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which are not read")
        return tuple(shape)

    def value(self, key: str) -> np.ndarray:
        """One array; 2-byte values without a type are bfloat16, which NumPy cannot name."""
        try:
            with self._archive.open(f"{key}{_SUFFIX}") as file:
                value = np.lib.format.read_array(file, allow_pickle=False)
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise UserError(f"{self.path} has a damaged {key} ({error})") from error
        if value.dtype.kind == "V" and value.dtype.itemsize == 2:
            return value.view(ml_dtypes.bfloat16)
        return value


class NpzContainer(Container):
    """One file, written one array at a time; it keeps neither step nor settings."""

    def recognises(self, path):
        """Whether `path` is a zip archive of nothing but NumPy arrays."""
        if not os.path.isfile(path) or not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        return bool(names) and all(name.endswith(_SUFFIX) for name in names)

    def open_source(self, path):
        return NpzSource(path)

    def _write(self, values, path, step, settings):
        with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
            for key, value in values:
                with archive.open(f"{key}{_SUFFIX}", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
        return ""
