"""The framework of all weight formats: whose array in a file is which weight of a model.

Three things meet here, and each format brings its own of them:

- a *source*, an opened file with arrays by key (`Source`; `RenamedSource` gives one other names);
- a *key map*, a function from a part of a model to a list of `Place`, one for each array that the
  format has for it. A place is data: key, shape, and how the array's axes become ours. The helpers
  `same`, `reshaped`, `transposed`, `permuted`, `joined` and `zeros` make the usual ones;
- a `key_maps.KeyMap`, by which files are recognised and maps found.

`load` checks every key and shape before it assigns anything and accounts for all of them;
`stored_values` goes the other way. Both use the same places, so that a round trip keeps every bit.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from mm_models.errors import UserError

_NAMES_SHOWN = 5

Shape = tuple[int, ...]


class Source(Protocol):
    """Arrays by key, read one at a time.

    Attributes:
        path: of the file or folder, for messages.
        step: training step of the weights, 0 where the file does not say.
        shapes: of every array, by key, without reading any.
        settings: config of the model beside the weights, None where there is none.
    """

    path: str
    step: int
    shapes: Mapping[str, Shape]
    settings: Mapping[str, Any] | None

    def value(self, key: str) -> np.ndarray:
        """One array."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One weight within a stored array.

    Attributes:
        variable: ours; None: zeros that the format has and that mean nothing to us.
        shape: of its share of the array, as stored.
        axes: the stored axes in our order; None: as they are. Then the shape becomes ours.
        resize: (array as stored, shape) -> array of that shape; for position tables alone.
        resize_axis: the axis along which another length may be resized.
    """

    variable: keras.Variable | None
    shape: Shape
    axes: tuple[int, ...] | None = None
    resize: Callable[[np.ndarray, Shape], np.ndarray] | None = None
    resize_axis: int = 0

    def to_ours(self, value: np.ndarray) -> np.ndarray:
        """A stored share in the variable's shape and dtype."""
        if self.axes is not None:
            value = np.transpose(value, self.axes)
        return value.reshape(self.variable.shape).astype(self.variable.dtype)

    def to_stored(self) -> np.ndarray:
        """The variable's value as the file has it."""
        if self.variable is None:
            return np.zeros(self.shape, np.float32)
        value = np.asarray(self.variable.numpy())
        if self.axes is None:
            return value.reshape(self.shape)
        value = value.reshape([self.shape[axis] for axis in self.axes])
        return np.ascontiguousarray(np.transpose(value, np.argsort(self.axes)))


@dataclasses.dataclass(frozen=True)
class Place:
    """One array of a file and the weights it holds.

    Attributes:
        key: in the file.
        parts: the weights, in the order in which they lie along `axis`.
        axis: see `parts`.
        aliases: other keys of the same array. The first one that the file has is read, the others
            are no strays; `key` itself is what is written.
    """

    key: str
    parts: tuple[Part, ...]
    axis: int = 0
    aliases: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """Of the stored array."""
        lengths = list(self.parts[0].shape)
        if len(self.parts) > 1:
            lengths[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(lengths)

    @property
    def keys(self) -> tuple[str, ...]:
        """`key` and its aliases."""
        return (self.key, *self.aliases)

    def shares(self, shape: Shape) -> list[Shape] | None:
        """The shapes of the parts in a stored array of `shape`, None where they do not fit."""
        if len(shape) != len(self.shape):
            return None
        shares = [shape]
        if len(self.parts) > 1:
            over = shape[self.axis] - self.shape[self.axis]
            if over and not any(part.resize for part in self.parts):
                return None
            shares = [self._share(part, shape, over) for part in self.parts]
        fits = all(_fits(part, share) for part, share in zip(self.parts, shares, strict=True))
        return shares if fits else None

    def _share(self, part: Part, shape: Shape, over: int) -> Shape:
        """Of a joined array that is `over` longer than ours, which one position table takes."""
        length = part.shape[self.axis] + (over if part.resize else 0)
        return (*shape[: self.axis], length, *shape[self.axis + 1 :])

    def assign(self, value: np.ndarray) -> None:
        """Gives the stored array's shares to the weights. Raises UserError where a position table
        cannot be resized."""
        shares = self.shares(value.shape)
        pieces = [value]
        if len(shares) > 1:
            ends = np.cumsum([share[self.axis] for share in shares])[:-1]
            pieces = np.split(value, ends, axis=self.axis)
        resized = [
            piece if piece.shape == part.shape else part.resize(piece, part.shape)
            for part, piece in zip(self.parts, pieces, strict=True)
        ]
        for part, piece in zip(self.parts, resized, strict=True):
            if part.variable is not None:
                part.variable.assign(part.to_ours(piece))

    def stored_value(self) -> np.ndarray:
        """The array that a file of this format has."""
        pieces = [part.to_stored() for part in self.parts]
        return np.concatenate(pieces, axis=self.axis) if len(pieces) > 1 else pieces[0]


def _fits(part: Part, share: Shape) -> bool:
    pairs = enumerate(zip(share, part.shape, strict=True))
    differing = [axis for axis, (there, here) in pairs if there != here]
    resizable = part.resize is not None and differing == [part.resize_axis]
    return not differing or (resizable and share[part.resize_axis] > 0)


def reshaped(key: str, variable: keras.Variable, shape: Sequence[int], **part) -> Place:
    """The same numbers in the same order in another shape; `part`: more fields of `Part`."""
    return Place(key, (Part(variable, tuple(shape), **part),))


def same(key: str, variable: keras.Variable, **part) -> Place:
    """The same array under another name."""
    return reshaped(key, variable, variable.shape, **part)


def permuted(key: str, variable: keras.Variable, shape: Sequence[int], axes) -> Place:
    """Stored as `shape`; its axes in the order `axes`, then reshaped, are ours."""
    return reshaped(key, variable, shape, axes=tuple(axes))


def transposed(key: str, kernel: keras.Variable) -> Place:
    """A matrix [outputs, inputs], as torch keeps it, of our [inputs, outputs]."""
    return permuted(key, kernel, tuple(kernel.shape)[::-1], (1, 0))


def zeros(shape: Sequence[int]) -> Place:
    """A share of a joined array that is nothing of ours: written as zeros, not read."""
    return Place("", (Part(None, tuple(shape)),))


def joined(key: str, places: Sequence[Place], axis: int = 0) -> Place:
    """Several arrays in one, behind each other along `axis`; the keys of `places` do not count."""
    return Place(key, tuple(part for place in places for part in place.parts), axis)


@dataclasses.dataclass(frozen=True)
class MappingReport:
    """What an import found, by the keys of the key map.

    Attributes:
        loaded: taken as they are.
        resized: position tables, with their lengths there and here.
        skipped: the model has a place for them and the file lacks them; weights stay as they were.
        unmapped: keys of the file for which the model has no place.
    """

    loaded: list[str]
    resized: dict[str, tuple[int, int]]
    skipped: list[str]
    unmapped: list[str]

    def __str__(self) -> str:
        """A count of each, and every name but those of what was simply loaded."""
        resized = [f"{key} {there} -> {here} rows" for key, (there, here) in self.resized.items()]
        lines = [f"  loaded {len(self.loaded)}"]
        for title, names in {
            "resized": resized,
            "skipped": self.skipped,
            "unmapped": self.unmapped,
        }.items():
            lines += [f"  {title} {len(names)}", *(f"    {name}" for name in names)]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Every name, for a file beside the weights."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def load(
    places: Sequence[Place],
    source: Source,
    *,
    allow: Sequence[str] = (),
    elsewhere: str = "",
    strict: bool = True,
) -> MappingReport:
    """Assigns every weight that the source has.

    Args:
        places: of the model.
        source: opened.
        allow: regular expressions, searched in keys that may be skipped or left unmapped.
        elsewhere: regular expression of keys that are another model's in the same file; they are
            reported as unmapped and never refused. Empty: none.
        strict: refuse any other key that is missing or left over; shapes are always checked.

    Raises:
        UserError: a key is missing, has no place, or has another shape; nothing was assigned then.
    """
    if not strict:
        allow = [""]
    elif elsewhere:
        allow = [*allow, elsewhere]
    report = match(places, source.shapes, allow, source.path)
    # Tables first: what cannot be resized shows before anything else is assigned.
    for place in sorted(places, key=lambda place: place.key not in report.resized):
        if place.key not in report.skipped:
            place.assign(np.asarray(source.value(_present(place, source.shapes))))
    return report


def match(
    places: Sequence[Place],
    shapes: Mapping[str, Shape],
    allow: Sequence[str] = (),
    path: str = "the checkpoint",
) -> MappingReport:
    """Finds a place for every key by names and shapes alone.

    Args:
        places: of the model.
        shapes: of the file's arrays by key.
        allow: see `load`.
        path: what errors call the file.

    Raises:
        UserError: see `load`.
    """
    loaded, resized, skipped = [], {}, []
    for place in places:
        key = _present(place, shapes)
        if key is None:
            skipped.append(place.key)
            continue
        there, here = tuple(shapes[key]), place.shape
        if place.shares(there) is None:
            raise UserError(
                f"{path} has {key} of shape {list(there)}, the model {list(here)}; set the sizes "
                "of task.model to those of the checkpoint"
            )
        if there == here:
            loaded.append(place.key)
        else:
            axis = next(part.resize_axis for part in place.parts if part.resize)
            resized[place.key] = (there[axis], here[axis])
    known = {key for place in places for key in place.keys}
    unmapped = [key for key in shapes if key not in known]
    _refuse(skipped, allow, path, "lacks")
    _refuse(unmapped, allow, path, "has, without a place in the model,")
    return MappingReport(loaded, resized, skipped, unmapped)


def stored_values(places: Sequence[Place]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a file that holds the model, one at a time."""
    for place in places:
        yield place.key, place.stored_value()


def _present(place: Place, shapes: Mapping[str, Shape]) -> str | None:
    return next((key for key in place.keys if key in shapes), None)


def _refuse(keys: Sequence[str], allow: Sequence[str], path: str, verb: str) -> None:
    """Raises UserError for keys that no pattern allows."""
    stray = [key for key in keys if not any(re.search(pattern, key) for pattern in allow)]
    if stray:
        more = f" and {len(stray) - _NAMES_SHOWN} more" if len(stray) > _NAMES_SHOWN else ""
        raise UserError(
            f"{path} {verb} {len(stray)} key(s): {', '.join(stray[:_NAMES_SHOWN])}{more}; give the "
            "config of the same model, or allow them with --allow=PATTERN"
        )
