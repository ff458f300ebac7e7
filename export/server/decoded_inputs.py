"""Which string inputs of a signature a picture decoder of its graph reads.

The contents of an input are followed through the graph and the functions that it calls, position by
position, so that a prompt beside a picture is told from it. What cannot be followed counts as read.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tensorflow.core.framework import function_pb2, node_def_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework import op_def_registry

PICTURE_OPS = frozenset(
    f"Decode{name}" for name in ("AndCropJpeg", "Bmp", "Gif", "Image", "Jpeg", "Png", "WebP")
)
# What can hold the bytes of a file, or a list or handle of them.
_CARRIERS = frozenset((types_pb2.DT_STRING, types_pb2.DT_VARIANT, types_pb2.DT_RESOURCE))
_LOOPS = frozenset(("While", "StatelessWhile", "_While"))
# The first input chooses a branch, the others go to it.
_BRANCHES = frozenset(("If", "StatelessIf", "_If", "Case", "StatelessCase"))
_CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))
# (node, output): output None stands for all of them.
_Place = tuple[str, int | None]


@dataclasses.dataclass(frozen=True)
class _Flow:
    """Where contents that enter a function come out, and whether a decoder reads them inside."""

    outputs: frozenset[int]
    is_decoded: bool


@dataclasses.dataclass
class _Body:
    """Nodes by name, and for each name who reads it: (node, position of the input, output)."""

    nodes: Mapping[str, node_def_pb2.NodeDef]
    readers: Mapping[str, Sequence[tuple[str, int, int]]]


class DecodedInputs:
    """The analysis of one graph.

    Args:
        meta_graph: of the SavedModel.
    """

    def __init__(self, meta_graph: meta_graph_pb2.MetaGraphDef):
        functions = meta_graph.graph_def.library.function
        self._functions = {function.signature.name: function for function in functions}
        self._graph = _body(meta_graph.graph_def.node)
        self._flows: dict[tuple[str, frozenset[int]], _Flow] = {}

    def holds_pictures(self, info: meta_graph_pb2.TensorInfo) -> bool:
        """Whether a picture decoder reads an input of a signature."""
        if info.dtype != types_pb2.DT_STRING:
            return False
        name, _, output = info.name.partition(":")
        return self._follow(self._graph, [(name, int(output or 0)), (name, None)])[1]

    def _follow(self, body: _Body, starts: Iterable[_Place]) -> tuple[set[_Place], bool]:
        reached, waiting, is_decoded = set(starts), list(starts), False
        entered: dict[str, set[int]] = defaultdict(set)
        while waiting:
            name, output = waiting.pop()
            for reader, position, read in body.readers.get(name, ()):
                if output is not None and read != output:
                    continue
                node = body.nodes[reader]
                is_decoded |= node.op in PICTURE_OPS
                entered[reader].add(position)
                places, inside = self._through(node, frozenset(entered[reader]))
                is_decoded |= inside
                waiting += places - reached
                reached |= places
        return reached, is_decoded

    def _through(
        self, node: node_def_pb2.NodeDef, positions: frozenset[int]
    ) -> tuple[set[_Place], bool]:
        """Outputs of a node that hold what came in at `positions`."""
        called = self._called(node)
        if not called:
            return ({(node.name, None)} if _carries(node) else set()), False
        flow = self._call(node.op, called, positions)
        if node.op in self._functions and flow.outputs:
            # Its outputs have names of their own, each counted from 0.
            return {(node.name, None)}, flow.is_decoded
        return {(node.name, output) for output in flow.outputs}, flow.is_decoded

    def _called(self, node: node_def_pb2.NodeDef) -> list[str]:
        if node.op in self._functions:
            return [node.op]
        named = [attr.func.name for attr in node.attr.values() if attr.HasField("func")]
        for attr in node.attr.values():
            named += [function.name for function in attr.list.func]
        return [name for name in named if name in self._functions]

    def _call(self, op: str, called: Sequence[str], positions: frozenset[int]) -> _Flow:
        if op in _BRANCHES:
            positions = frozenset(position - 1 for position in positions if position > 0)
        elif op not in _LOOPS | _CALLS and op not in self._functions:
            positions = frozenset(range(self._most_arguments(called)))
        flow = self._union(called, positions)
        while op in _LOOPS and not flow.outputs <= positions:
            positions |= flow.outputs
            flow = self._union(called, positions)
        # A loop that does not run gives back what it got.
        return _Flow(flow.outputs | positions, flow.is_decoded) if op in _LOOPS else flow

    def _most_arguments(self, called: Sequence[str]) -> int:
        return max(len(self._functions[name].signature.input_arg) for name in called)

    def _union(self, called: Sequence[str], positions: frozenset[int]) -> _Flow:
        flows = [self._flow(name, positions) for name in called]
        outputs = functools.reduce(frozenset.union, (flow.outputs for flow in flows))
        return _Flow(outputs, any(flow.is_decoded for flow in flows))

    def _flow(self, name: str, positions: frozenset[int]) -> _Flow:
        key = (name, positions)
        if key not in self._flows:
            function = self._functions[name]
            arguments = [argument.name for argument in function.signature.input_arg]
            returned = [function.ret[out.name] for out in function.signature.output_arg]
            # For a function that calls itself, until it is known.
            self._flows[key] = _Flow(frozenset(range(len(returned))), False)
            starts = [(arguments[p], None) for p in positions if p < len(arguments)]
            reached, is_decoded = self._follow(_function_body(function), starts)
            outputs = frozenset(
                number
                for number, reference in enumerate(returned)
                if not reached.isdisjoint(_places(reference))
            )
            self._flows[key] = _Flow(outputs, is_decoded)
        return self._flows[key]


def _function_body(function: function_pb2.FunctionDef) -> _Body:
    return _body(function.node_def)


def _body(nodes: Iterable[node_def_pb2.NodeDef]) -> _Body:
    readers = defaultdict(list)
    by_name = {node.name: node for node in nodes}
    for node in by_name.values():
        data = [reference for reference in node.input if not reference.startswith("^")]
        for position, reference in enumerate(data):
            name, output = _split(reference)
            readers[name].append((node.name, position, output))
    return _Body(by_name, readers)


def _split(reference: str) -> tuple[str, int]:
    """Node and output of `node`, `node:1` (graphs) or `node:name_of_output:1` (functions)."""
    name, *rest = reference.split(":")
    return name, int(rest[-1]) if rest and rest[-1].isdecimal() else 0


def _places(reference: str) -> tuple[_Place, _Place]:
    name, output = _split(reference)
    return (name, output), (name, None)


def _carries(node: node_def_pb2.NodeDef) -> bool:
    definition = op_def_registry.get(node.op)
    if definition is None:
        return True
    types: list[int] = []
    for output in definition.output_arg:
        if output.type_list_attr:
            types += node.attr[output.type_list_attr].list.type
        else:
            types.append(output.type or node.attr[output.type_attr].type)
    return not _CARRIERS.isdisjoint(types)
