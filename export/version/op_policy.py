"""Which operations a served graph may hold, and which operation libraries a server needs for it."""

import dataclasses
from collections.abc import Iterator

from mm_models.errors import UserError

# They run Python, touch files at the request's will, or make any amount of data of a few bytes. The
# loader's own save and restore functions and table initialisers read assets by other operations.
REFUSED_OPS = frozenset(
    (
        *("PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction", "PrintV2"),
        *("ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2"),
        *("DecodeCompressed", "ParseTensor"),
        *("Save", "SaveSlices", "TFRecordDataset", "TextLineDataset", "FixedLengthRecordDataset"),
    )
)
# These appear only in the function that restores variables.
_RESTORE_OPS = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"})


@dataclasses.dataclass(frozen=True)
class OpReport:
    """What a graph holds.

    Attributes:
        custom_ops: operations that TensorFlow itself does not have.
        libraries: Python packages (or the server builds of their ops) that provide the custom ones.
    """

    custom_ops: tuple[str, ...]
    libraries: tuple[str, ...]


def check_ops(saved_model, where: str) -> OpReport:
    """Checks a parsed `SavedModel` proto.

    Args:
        saved_model: `tensorflow.core.protobuf.saved_model_pb2.SavedModel`.
        where: path, for messages.

    Raises:
        UserError: for an operation that is refused, or that no known library provides.
    """
    import tensorflow as tf

    ops = set(_all_ops(saved_model))
    refused = sorted(ops & REFUSED_OPS)
    if refused:
        raise UserError(
            f"{where}: the graph holds {refused}, which run Python, touch files or grow "
            "without bound; export it without them"
        )
    compiled = sorted(op for op in ops if op.startswith("Xla"))
    if compiled:
        raise UserError(
            f"{where}: the graph holds {compiled}, which servers without XLA do not know; export "
            "it from operations of TensorFlow"
        )
    custom = sorted(op for op in ops if not op.startswith("_") and not hasattr(tf.raw_ops, op))
    if custom:
        _check_text_ops(custom, where)
    _check_restore_ops(saved_model, where)
    return OpReport(tuple(custom), ("tensorflow_text",) if custom else ())


def import_libraries(report: OpReport) -> None:
    """Registers the custom operations of a graph in this process."""
    if "tensorflow_text" in report.libraries:
        import tensorflow_text  # noqa: F401


def _check_text_ops(custom: list[str], where: str) -> None:
    import tensorflow_text  # noqa: F401
    from tensorflow.python.framework import op_def_registry

    unknown = [op for op in custom if op_def_registry.get(op) is None]
    if unknown:
        raise UserError(f"{where}: no known library provides the operations {unknown}")


def _all_ops(saved_model) -> Iterator[str]:
    for meta_graph in saved_model.meta_graphs:
        yield from (node.op for node in meta_graph.graph_def.node)
        for function in meta_graph.graph_def.library.function:
            yield from (node.op for node in function.node_def)


def _check_restore_ops(saved_model, where: str) -> None:
    for meta_graph in saved_model.meta_graphs:
        functions = {f.signature.name: f for f in meta_graph.graph_def.library.function}
        savers = [name for name in functions if "traced_save" in name or "traced_restore" in name]
        allowed = _reachable(savers, functions)
        for name, function in functions.items():
            held = sorted({node.op for node in function.node_def} & _RESTORE_OPS)
            if held and name not in allowed:
                raise UserError(
                    f"{where}: function {name!r} holds {held}, which read or write checkpoint files"
                )


def _reachable(roots: list[str], functions: dict) -> set[str]:
    reached, waiting = set(), list(roots)
    while waiting:
        name = waiting.pop()
        if name in reached or name not in functions:
            continue
        reached.add(name)
        for node in functions[name].node_def:
            waiting.extend(attr.func.name for attr in node.attr.values() if attr.HasField("func"))
    return reached
