"""A source under other names: what makes the variants of a format one before keys are mapped."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping

import numpy as np

from mm_models.checkpoints.mapping import Shape, Source


@dataclasses.dataclass(frozen=True)
class _Array:
    shape: Shape
    read: Callable[[], np.ndarray]


class RenamedSource:
    """Arrays computed from those of a source when they are asked for; every method gives a new one.

    Attributes: those of `mapping.Source`.
    """

    def __init__(self, source: Source, arrays: Mapping[str, _Array] | None = None):
        self._source = source
        self.path, self.step, self.settings = source.path, source.step, source.settings
        self._arrays = dict(arrays) if arrays is not None else _all_of(source)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of every array, by its name here."""
        return {key: array.shape for key, array in self._arrays.items()}

    def value(self, key: str) -> np.ndarray:
        """One array."""
        return self._arrays[key].read()

    def renamed(self, change: Callable[[str], str | None]) -> "RenamedSource":
        """Every key as `change` gives it; None leaves the array out."""
        names = {key: change(key) for key in self._arrays}
        kept = {new: self._arrays[key] for key, new in names.items() if new is not None}
        return RenamedSource(self._source, kept)

    def substituted(self, *rules: tuple[str, str]) -> "RenamedSource":
        """Keys after `re.sub` with (pattern, replacement) of each rule in turn."""

        def change(key: str) -> str:
            for pattern, replacement in rules:
                key = re.sub(pattern, replacement, key)
            return key

        return self.renamed(change)

    def below(self, prefix: str) -> "RenamedSource":
        """The arrays whose keys begin with `prefix`, without it."""
        return self.renamed(lambda key: key[len(prefix) :] if key.startswith(prefix) else None)

    def unstacked(self, pattern: str, name: str, axis: int = 0) -> "RenamedSource":
        """Arrays of all layers in one become one for each layer.

        Args:
            pattern: regular expression, searched in keys of stacked arrays; one that has no such
                axis stays as it is.
            name: what takes the place of the match, with `{index}` for the layer.
            axis: along which the layers lie.
        """
        arrays = {}
        for key, array in self._arrays.items():
            found = re.search(pattern, key)
            if not found or len(array.shape) <= axis:
                arrays[key] = array
                continue
            # Read once for all layers, which are asked for one by one.
            read = functools.cache(array.read)
            shape = array.shape[:axis] + array.shape[axis + 1 :]
            for index in range(array.shape[axis]):
                new = key[: found.start()] + name.format(index=index) + key[found.end() :]
                arrays[new] = _Array(shape, _slice(read, index, axis))
        return RenamedSource(self._source, arrays)

    def computed(
        self, key: str, shape: Shape, compute: Callable[..., np.ndarray], *inputs: str
    ) -> "RenamedSource":
        """With one more array, or another one of that name: `compute` of the `inputs`' values."""
        reads = [self._arrays[name].read for name in inputs]
        array = _Array(tuple(shape), lambda: compute(*(read() for read in reads)))
        return RenamedSource(self._source, {**self._arrays, key: array})

    def without(self, *keys: str) -> "RenamedSource":
        """The others alone."""
        return self.renamed(lambda key: None if key in keys else key)


def _all_of(source: Source) -> dict[str, _Array]:
    return {
        key: _Array(tuple(shape), lambda key=key: source.value(key))
        for key, shape in source.shapes.items()
    }


def _slice(read: Callable[[], np.ndarray], index: int, axis: int) -> Callable[[], np.ndarray]:
    return lambda: np.take(read(), index, axis=axis)
