"""Where an operation of a compiled program comes from: its layer, and the line that made it."""

import dataclasses
import pathlib
from collections.abc import Iterator

import tensorflow as tf

_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile")
# Packages whose lines say how an operation is made, not why.
_MACHINERY = ("tensorflow", "tensorflow_io", "keras")
_PACKAGES = ("site-packages", "dist-packages")


@dataclasses.dataclass(frozen=True)
class Origin:
    """An operation of a graph.

    Attributes:
        kind: of the operation, such as `MatMul`; empty where the graph does not have it.
        layer: the scope it stands in.
        source: file and line outside of TensorFlow and Keras that made it; empty where none did.
    """

    kind: str
    layer: str
    source: str


class Origins:
    """Origins of a graph's operations, by name."""

    def __init__(self, graph: tf.Graph):
        """Looks through the graph and the functions that it calls."""
        self._operations = dict(_named(graph, "", set()))

    def find(self, name: str) -> Origin:
        """The origin of the operation that a compiled one was named after.

        The names of derived operations have more parts than the graph's: the longest beginning that
        is there counts. Of operations that became one, which `;` divides, the first counts.
        """
        parts = name.partition(";")[0].split("/")
        for count in range(len(parts), 0, -1):
            operation = self._operations.get("/".join(parts[:count]))
            if operation is not None:
                return Origin(operation.type, _layer(operation.name), _source(operation))
        return Origin("", _layer(name), "")


def _named(graph: tf.Graph, prefix: str, seen: set[str]) -> Iterator[tuple[str, tf.Operation]]:
    for operation in graph.get_operations():
        yield prefix + operation.name, operation
        if operation.type not in _CALLS:
            continue
        for attribute in ("f", "body", "cond"):
            if attribute not in operation.node_def.attr:
                continue
            name = operation.get_attr(attribute).name
            inner = graph._get_function(name)
            if inner is not None and name not in seen and hasattr(inner, "graph"):
                yield from _named(inner.graph, f"{prefix}{operation.name}/", seen | {name})


def _layer(name: str) -> str:
    return "/".join(part for part in name.split("/")[:-1] if part not in _CALLS)


def _source(operation: tf.Operation) -> str:
    """The innermost frame that is nobody's machinery."""
    for frame in reversed(operation.traceback):
        parts = pathlib.PurePath(frame.filename).parts
        if frame.lineno and not set(_MACHINERY) & set(parts):
            return f"{_short(frame.filename)}:{frame.lineno}"
    return ""


def _short(path: str) -> str:
    """A path below the folder of packages that it lies in, or below this project's."""
    folders = [each for each in pathlib.Path(path).parents if each.name in _PACKAGES]
    for folder in (*folders, pathlib.Path(__file__).resolve().parents[4]):
        if pathlib.Path(path).is_relative_to(folder):
            return pathlib.Path(path).relative_to(folder).as_posix()
    return path
