"""A signature of a SavedModel and the check of a request's tensors against it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from export.server.requests.errors import Code, RequestError, invalid
from export.server.requests.images import FORMATS, encoded_image_pixels
from export.server.requests.limits import Limits


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """One input or output.

    Attributes:
        name: its name in requests.
        dtype: NumPy dtype; `object` for strings.
        dtype_name: TensorFlow's name, such as `uint8` or `string`.
        shape: lengths of the axes, None where any length goes; None altogether for unknown rank.
        holds_pictures: whether the graph decodes its strings as files of pictures.
    """

    name: str
    dtype: np.dtype
    dtype_name: str
    shape: tuple[int | None, ...] | None
    holds_pictures: bool = False

    @property
    def kind(self) -> str:
        """NumPy's letter of the dtype's kind; bfloat16, which NumPy does not know, is a float."""
        return "f" if self.dtype_name == "bfloat16" else self.dtype.kind

    @property
    def has_free_rows(self) -> bool:
        """Whether axis 0 takes any length."""
        return bool(self.shape) and self.shape[0] is None

    def describe(self) -> str:
        """Such as `uint8[?, ?, 3]`."""
        if self.shape is None:
            return f"{self.dtype_name}[unknown rank]"
        return f"{self.dtype_name}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs by name.

    `has_rows` says that every input and every output has a free axis 0, so that rows are requests
    of their own and may be batched.

    Attributes:
        name: its name.
        inputs, outputs: fields by name.
        filled_rows: rows of every call of the graph, to which fewer are filled up; 0 where it takes
            any number. Axis 0 of the fields is free all the same.
    """

    name: str
    inputs: Mapping[str, FieldSpec]
    outputs: Mapping[str, FieldSpec]
    filled_rows: int = 0

    @property
    def has_rows(self) -> bool:
        """Whether axis 0 of all inputs and outputs counts rows."""
        fields = [*self.inputs.values(), *self.outputs.values()]
        return bool(self.inputs) and all(field.has_free_rows for field in fields)

    def fill(self, array: np.ndarray) -> np.ndarray:
        """The array with its first row repeated behind it, up to the rows of a call."""
        lacking = self.filled_rows - len(array) if self.filled_rows else 0
        return np.concatenate([array, *[array[:1]] * lacking]) if lacking else array

    def check_names(self, given: Mapping) -> None:
        """Raises RequestError when inputs are missing or unknown."""
        missing = [name for name in self.inputs if name not in given]
        unknown = [str(name)[:80] for name in given if name not in self.inputs]
        if missing or unknown:
            wrong = f"lacks {sorted(missing)}" if missing else f"has unknown {sorted(unknown)[:5]}"
            raise invalid(
                f"request for signature {self.name!r} {wrong}; "
                f"its inputs are {self.describe_inputs()}"
            )

    def describe_inputs(self) -> str:
        """Inputs with dtypes and shapes, for messages."""
        return ", ".join(f"{name}: {field.describe()}" for name, field in self.inputs.items())

    def check(self, arrays: Mapping[str, np.ndarray], limits: Limits) -> int | None:
        """Checks names, dtypes, shapes, limits and contents.

        Args:
            arrays: one array per input.
            limits: bounds on rows, elements and strings.

        Returns:
            The number of rows, or None when the signature has none.

        Raises:
            RequestError: naming the field.
        """
        self.check_names(arrays)
        for name, array in arrays.items():
            _check_field(self.inputs[name], array, limits)
        self._check_sums(arrays, limits)
        if not self.has_rows:
            return None
        rows = {name: array.shape[0] for name, array in arrays.items()}
        if len(set(rows.values())) > 1:
            raise invalid(f"inputs differ in the length of axis 0, the rows: {rows}")
        num_rows = next(iter(rows.values()))
        most = min(limits.max_rows, self.filled_rows or limits.max_rows)
        if num_rows > most:
            message = f"request has {num_rows} rows, the limit is {most}; send fewer"
            raise RequestError(Code.TOO_LARGE, message)
        return num_rows

    def _check_sums(self, arrays: Mapping[str, np.ndarray], limits: Limits) -> None:
        num_elements = sum(array.size for array in arrays.values())
        if num_elements > limits.max_elements:
            message = f"request has {num_elements} elements, the limit is {limits.max_elements}"
            raise RequestError(Code.TOO_LARGE, f"{message}; send fewer rows")
        pictures = {name: array for name, array in arrays.items() if self._decodes(name)}
        num_pixels = sum(
            _picture_pixels(name, array, limits.max_picture_pixels)
            for name, array in pictures.items()
        )
        if num_pixels > limits.max_picture_pixels:
            message = f"request has pictures of at least {num_pixels} pixels in {sorted(pictures)}"
            raise RequestError(
                Code.TOO_LARGE,
                f"{message}, the limit is {limits.max_picture_pixels}; send fewer or smaller ones",
            )

    def _decodes(self, name: str) -> bool:
        return self.inputs[name].holds_pictures


def with_filled_rows(signature: Signature, sizes: Sequence[int]) -> Signature:
    """The signature as it takes any number of rows up to the one that its graph is made for.

    Args:
        signature: of the graph.
        sizes: `allowed_batch_sizes` of the batching parameters; a signature all of whose inputs and
            outputs have one of these lengths on axis 0 has that many rows.
    """
    fields = [*signature.inputs.values(), *signature.outputs.values()]
    rows = {field.shape[0] if field.shape else None for field in fields}
    if len(rows) != 1 or not rows <= set(sizes):
        return signature
    return Signature(
        signature.name, _freed(signature.inputs), _freed(signature.outputs), rows.pop()
    )


def _freed(fields: Mapping[str, FieldSpec]) -> dict[str, FieldSpec]:
    return {
        name: dataclasses.replace(field, shape=(None, *field.shape[1:]))
        for name, field in fields.items()
    }


def check_shape(field: FieldSpec, shape: tuple[int, ...], limits: Limits) -> None:
    """Raises RequestError unless `shape` fits the field, is not empty and is within the limits."""
    if field.shape is not None:
        if len(shape) != len(field.shape):
            raise invalid(
                f"input {field.name!r} has rank {len(shape)} (shape {list(shape)}), "
                f"expected rank {len(field.shape)}: {field.describe()}"
            )
        for axis, (length, expected) in enumerate(zip(shape, field.shape, strict=True)):
            if expected is not None and length != expected:
                raise invalid(
                    f"input {field.name!r} has length {length} on axis {axis}, "
                    f"expected {expected}: {field.describe()}"
                )
    num_elements = math.prod(shape)
    if num_elements == 0:
        raise invalid(f"input {field.name!r} is empty: its shape is {list(shape)}")
    if num_elements > limits.max_elements:
        raise RequestError(
            Code.TOO_LARGE,
            f"input {field.name!r} has {num_elements} elements, the limit is {limits.max_elements}",
        )


def _check_field(field: FieldSpec, array: np.ndarray, limits: Limits) -> None:
    if array.dtype != field.dtype:
        given = "string" if array.dtype == object else array.dtype.name
        raise invalid(f"input {field.name!r} is {given}, expected {field.dtype_name}")
    check_shape(field, array.shape, limits)
    if field.dtype == object:
        _check_strings(field.name, array, limits)
    elif field.kind == "f" and not limits.allow_non_finite and not np.isfinite(array).all():
        raise invalid(f"input {field.name!r} contains NaN or infinity")


def _check_strings(name: str, array: np.ndarray, limits: Limits) -> None:
    for value in array.flat:
        if not isinstance(value, bytes):
            raise invalid(f"input {name!r} holds a {type(value).__name__}, expected a string")
        if len(value) > limits.max_string_bytes:
            raise RequestError(
                Code.TOO_LARGE,
                f"input {name!r} holds a value of {len(value)} bytes, "
                f"the limit is {limits.max_string_bytes}",
            )


def _picture_pixels(name: str, array: np.ndarray, limit: int) -> int:
    """Of the files of an input together, up to where the sum passes the limit. Raises RequestError
    for one that cannot be read."""
    total = 0
    known: dict[int, int | None] = {}
    for number, encoded in enumerate(array.flat):
        # One value may stand for all of a tensor.
        if id(encoded) not in known:
            known[id(encoded)] = encoded_image_pixels(encoded)
        pixels = known[id(encoded)]
        if pixels is None:
            raise invalid(
                f"input {name!r} holds a value, number {number}, that is no {FORMATS} picture or "
                "whose header cannot be read; send intact picture files"
            )
        total += pixels
        if total > limit:
            break
    return total
