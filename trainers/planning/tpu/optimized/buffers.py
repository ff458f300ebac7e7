"""Which buffers are alive together where a program needs most memory."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from trainers.planning.tpu.optimized.hlo_text import Array, Instruction, Program, Shape

# What gives a buffer another name, or changes it in place.
_FIRST_OPERAND = ("bitcast", "optimization-barrier", "dynamic-update-slice", "while", "domain")
_DONE = "-done"


@dataclasses.dataclass
class Buffer:
    """An array that an instruction makes, and how long it is needed.

    Attributes:
        array: what it is.
        operation: of the graph, that makes it.
        first, last: instructions of its computation between which it is alive.
    """

    array: Array
    operation: str
    first: int
    last: int


@dataclasses.dataclass(frozen=True)
class Peak:
    """Where a computation needs most of the large memory beside arguments and results.

    Attributes:
        size_bytes: with the padding of tiles, which is `padding_bytes` of it.
        buffers: alive there, the largest first.
    """

    size_bytes: int
    padding_bytes: int
    buffers: Sequence[Buffer]


# The buffers that an instruction's result consists of; a tuple of them for a tuple.
_Value = Buffer | tuple["_Value", ...]


def peak_of(program: Program) -> Peak:
    """The peak of the computation that runs.

    The compiler also lets some operations write where they read, which is not seen here: a program
    may need less.
    """
    peaks: dict[str, int] = {}
    return _peak(program, program.entry, peaks)


def _peak(program: Program, name: str, peaks: dict[str, int]) -> Peak:
    instructions = program.computations[name]
    buffers = _alive(instructions)
    changes = [0] * (len(instructions) + 1)
    for buffer in buffers:
        changes[buffer.first] += buffer.array.padded_bytes
        changes[buffer.last + 1] -= buffer.array.padded_bytes
    best, where, alive = 0, 0, 0
    for place, instruction in enumerate(instructions):
        alive += changes[place]
        inner = max((_inner(program, one, peaks) for one in _bodies(instruction)), default=0)
        if alive + inner > best:
            best, where = alive + inner, place
    there = [one for one in buffers if one.first <= where <= one.last]
    there.sort(key=lambda one: -one.array.padded_bytes)
    padding = sum(one.array.padded_bytes - one.array.logical_bytes for one in there)
    return Peak(best, padding, there)


def _bodies(instruction: Instruction) -> Sequence[str]:
    """Computations that an instruction runs with buffers of their own; those of a fusion have
    none."""
    return instruction.called if instruction.opcode in ("while", "conditional", "call") else ()


def _inner(program: Program, name: str, peaks: dict[str, int]) -> int:
    if name not in peaks:
        peaks[name] = _peak(program, name, peaks).size_bytes if name in program.computations else 0
    return peaks[name]


def _alive(instructions: Sequence[Instruction]) -> list[Buffer]:
    """Buffers of the large memory that are neither arguments nor results, with their lives."""
    values: dict[str, _Value] = {}
    made: list[Buffer] = []
    outside: set[int] = set()
    for place, instruction in enumerate(instructions):
        for operand in instruction.operands:
            for buffer in _flat(values[operand]):
                buffer.last = place
        value = values[instruction.name] = _value(instruction, values, place)
        # What has another name only was made before.
        made += [one for one in _flat(value) if one.first == place]
        if instruction.opcode == "parameter" or instruction.is_root:
            outside |= {id(one) for one in _flat(value)}
    return [one for one in made if not one.array.space and id(one) not in outside]


def _value(instruction: Instruction, values: Mapping[str, _Value], place: int) -> _Value:
    opcode = instruction.opcode
    if opcode == "tuple":
        return tuple(values[name] for name in instruction.operands)
    if opcode == "get-tuple-element":
        return _part(values[instruction.operands[0]], instruction.index)
    if opcode in _FIRST_OPERAND:
        return values[instruction.operands[0]]
    if opcode in ("copy-done", "send-done", "recv-done"):
        return _part(values[instruction.operands[0]], 0)
    if opcode.endswith(_DONE):
        started = values[instruction.operands[0]]
        # (operands, results, ...) of an asynchronous operation.
        return _part(started, 1) if isinstance(started, tuple) else started
    if opcode == "copy-start":
        written = _new(instruction.shape[0], instruction.operation, place)
        return (written, values[instruction.operands[0]])
    return _new(instruction.shape, instruction.operation, place)


def _part(value: _Value, index: int) -> _Value:
    return value[index] if isinstance(value, tuple) and index < len(value) else value


def _new(shape: Shape, operation: str, place: int) -> _Value:
    if isinstance(shape, Array):
        return Buffer(shape, operation, place, place)
    return tuple(_new(part, operation, place) for part in shape)


def _flat(value: _Value) -> Iterator[Buffer]:
    if isinstance(value, Buffer):
        yield value
    else:
        for part in value:
            yield from _flat(part)
