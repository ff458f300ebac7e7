"""Bytes that a program moves: between the large memory and the cores, and between devices."""

import collections
from collections.abc import Mapping, Sequence

from trainers.planning.tpu.optimized.hlo_text import Array, Instruction, Program, Shape, leaves

# Gives another name to what is there, or waits for what was counted when it began.
_MOVES_NOTHING = (
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("partition-id", "replica-id", "optimization-barrier", "domain"),
)
_TAKES_A_PART = ("slice", "dynamic-slice", "gather")
_COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    "collective-broadcast",
)


def memory_traffic(program: Program) -> int:
    """Bytes that are read from and written to the large memory, bodies of loops as often as they
    run.

    Of what is only cut or gathered from, the part that is taken counts; of what is written into,
    the part that is written.
    """
    return _traffic(program, program.entry)


def collective_bytes(program: Program) -> dict[str, int]:
    """Bytes of the results of collectives by kind, bodies of loops as often as they run."""
    found: collections.Counter[str] = collections.Counter()
    _collect(program, program.entry, 1, found)
    return dict(sorted(found.items()))


def _collect(program: Program, name: str, times: int, found: collections.Counter[str]) -> None:
    for one in program.computations.get(name, ()):
        kind = one.opcode.removesuffix("-start")
        if kind in _COLLECTIVES:
            shape = one.shape
            if one.opcode.endswith("-start") and not isinstance(shape, Array) and len(shape) > 1:
                shape = shape[1]
            found[kind] += times * sum(each.logical_bytes for each in leaves(shape))
        for called in one.called if one.opcode in ("while", "conditional", "call") else ():
            _collect(program, called, times * one.trips, found)


def _traffic(program: Program, name: str) -> int:
    instructions = program.computations.get(name, ())
    shapes = {one.name: one.shape for one in instructions}
    return sum(_moved(program, one, shapes) for one in instructions)


def _moved(program: Program, one: Instruction, shapes: Mapping[str, Shape]) -> int:
    if one.opcode in _MOVES_NOTHING or one.opcode.endswith("-done"):
        return 0
    if one.opcode == "while":
        return one.trips * sum(_traffic(program, name) for name in one.called)
    if one.opcode == "conditional":
        return max((_traffic(program, name) for name in one.called), default=0)
    if one.opcode == "call":
        return sum(_traffic(program, name) for name in one.called)
    operands = [shapes[name] for name in one.operands]
    if one.opcode.endswith("-start"):
        # Its result names its operands once more.
        written = one.shape if isinstance(one.shape, Array) else one.shape[0]
        return sum(_large(shape) for shape in operands) + _large(written)
    if one.opcode == "fusion":
        return _fusion(program.computations[one.called[0]], one, operands)
    if one.opcode in _TAKES_A_PART:
        taken = _large(one.shape) if not _large(operands[0]) else _logical(one.shape)
        return taken + _large(one.shape)
    if one.opcode == "dynamic-update-slice":
        return 2 * _logical(operands[1]) if _large(operands[0]) else _large(operands[1])
    return sum(_large(shape) for shape in operands) + _large(one.shape)


def _fusion(inside: Sequence[Instruction], one: Instruction, operands: Sequence[Shape]) -> int:
    """A fusion reads its operands once, or what is cut from them, and writes its results."""
    users: dict[str, list[Instruction]] = collections.defaultdict(list)
    for instruction in inside:
        for operand in instruction.operands:
            users[operand].append(instruction)
    moved = 0
    for instruction in inside:
        if instruction.opcode != "parameter":
            continue
        shape, by = operands[instruction.index], users[instruction.name]
        parts = [_part(instruction.name, user, inside) for user in by]
        if by and None not in parts:
            moved += sum(parts) if _large(shape) else 0
        else:
            moved += _large(shape)
    root = next(instruction for instruction in inside if instruction.is_root)
    if root.opcode == "dynamic-update-slice" and _large(one.shape):
        updates = {each.name: each.shape for each in inside}
        return moved + _logical(updates[root.operands[1]])
    return moved + _large(one.shape)


def _part(name: str, user: Instruction, inside: Sequence[Instruction]) -> int | None:
    """Bytes that an instruction takes of an operand that it only cuts from; None for all."""
    if user.opcode in _TAKES_A_PART and user.operands[0] == name:
        return _logical(user.shape)
    if user.opcode == "dynamic-update-slice" and user.operands[0] == name and user.is_root:
        return 0
    return None


def _large(shape: Shape) -> int:
    """Bytes of a shape that lie in the large memory."""
    return sum(each.padded_bytes for each in leaves(shape) if not each.space)


def _logical(shape: Shape) -> int:
    return sum(each.logical_bytes for each in leaves(shape))
