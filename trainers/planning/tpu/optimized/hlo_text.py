"""The optimized program of the TPU compiler, read from its text."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence

_BITS = {
    **{"pred": 8, "s2": 8, "u2": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16},
    **{"f16": 16, "bf16": 16, "s32": 32, "u32": 32, "f32": 32, "s64": 64, "u64": 64, "f64": 64},
    **{"c64": 64, "c128": 128, "token": 0, "opaque": 0},
}
_ARRAY = re.compile(r"(\w+)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations)=\{?([^,}\s][^}\s]*)\}?"
)
_COMMENT = re.compile(r"/\*.*?\*/")


@dataclasses.dataclass(frozen=True)
class Array:
    """An array and where it lies.

    Attributes:
        kind: type and sizes, such as `bf16[8,784]`.
        logical_bytes, padded_bytes: without and with what tiles add.
        space: 0 is the large memory, anything else is inside of the cores.
    """

    kind: str
    logical_bytes: int
    padded_bytes: int
    space: int


# A shape is an array, or a tuple of shapes.
Shape = Array | tuple["Shape", ...]


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One operation of a computation, in the order in which they run.

    Attributes:
        name, opcode, shape: as the text has them.
        operands: names.
        called: names of computations.
        operation: of the graph that it comes from; empty for the compiler's own.
        index: of `get-tuple-element`, or the number of a `parameter`.
        trips: of a `while`; 1 where that is not known.
        is_root: whether it is the computation's result.
    """

    name: str
    opcode: str
    shape: Shape
    operands: Sequence[str]
    called: Sequence[str]
    operation: str
    index: int
    trips: int
    is_root: bool
    target: str = ""


@dataclasses.dataclass(frozen=True)
class Program:
    """Computations by name, and the name of the one that runs."""

    computations: Mapping[str, Sequence[Instruction]]
    entry: str


def parse_program(text: str) -> Program:
    """Reads a module's text."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", []
    for line in text.splitlines():
        if line.endswith("{") and (start := _COMPUTATION.match(line)):
            current = computations[start.group(2)] = []
            entry = start.group(2) if start.group(1) else entry
        elif match := _INSTRUCTION.match(line):
            current.append(_instruction(match, _COMMENT.sub("", line[match.end() :])))
    return Program(computations, entry)


def leaves(shape: Shape) -> Iterator[Array]:
    """Every array of a shape."""
    if isinstance(shape, Array):
        yield shape
    else:
        for part in shape:
            yield from leaves(part)


def _instruction(match: re.Match[str], text: str) -> Instruction:
    shape, rest = _shape(text)
    opcode, _, rest = rest.strip().partition("(")
    inside = rest[: _closing(rest)]
    attributes = rest[len(inside) :]
    operation = re.search(r'op_name="([^"]*)"', attributes)
    trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', attributes)
    index = re.search(r"index=(\d+)", attributes)
    target = re.search(r'custom_call_target="([^"]*)"', attributes)
    called = [
        name.strip().lstrip("%")
        for names in _CALLED.findall(attributes)
        for name in names.split(",")
    ]
    number = int(inside) if opcode == "parameter" else int(index.group(1)) if index else 0
    return Instruction(
        name=match.group(2),
        opcode=opcode,
        shape=shape,
        operands=re.findall(r"%([\w.\-]+)", inside),
        called=called,
        operation=operation.group(1) if operation else "",
        index=number,
        trips=int(trips.group(1)) if trips else 1,
        is_root=bool(match.group(1)),
        target=target.group(1) if target else "",
    )


def _closing(text: str) -> int:
    """Where the bracket that was opened before `text` closes."""
    depth = 1
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return place
    return len(text)


def _shape(text: str) -> tuple[Shape, str]:
    """The shape at the beginning of `text`, and what follows it."""
    if not text.startswith("("):
        match = _ARRAY.match(text)
        if match is None:
            kind, _, rest = text.partition(" ")
            return Array(kind.split("[")[0], 0, 0, 0), rest
        return _array(match), text[match.end() :]
    parts: list[Shape] = []
    rest = text[1:]
    while not rest.startswith(")"):
        part, rest = _shape(rest.lstrip(", "))
        parts.append(part)
        rest = rest.lstrip()
    return tuple(parts), rest[1:]


def _array(match: re.Match[str]) -> Array:
    kind, sizes_text, layout = match.group(1), match.group(2), match.group(3) or ""
    sizes = [int(size.lstrip("<=")) for size in sizes_text.split(",") if size]
    bits = _BITS.get(kind, 8)
    space = re.search(r"S\((\d+)\)", layout)
    return Array(
        kind=f"{kind}[{sizes_text}]",
        logical_bytes=math.prod(sizes) * bits // 8,
        padded_bytes=math.prod(_padded(sizes, layout)) * bits // 8,
        space=int(space.group(1)) if space else 0,
    )


def _padded(sizes: Sequence[int], layout: str) -> list[int]:
    """Sizes rounded up to the tile of a layout such as `1,0:T(8,128)`, whose last axis is the one
    that lies closest together."""
    order, _, tiling = layout.partition(":")
    tile = re.search(r"T\(([\d,]+)\)", tiling)
    padded = list(sizes)
    if tile is None or not order:
        return padded
    minor_first = [int(axis) for axis in order.split(",")]
    lengths = [int(length) for length in tile.group(1).split(",")][::-1]
    for axis, length in zip(minor_first, lengths, strict=False):
        padded[axis] = -(-padded[axis] // length) * length
    return padded
