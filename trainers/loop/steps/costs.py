"""Floating-point operations and memory of a step, counted on its traced graph."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Enough for one quiet moment on a machine that does other things too.
_PEAK_ROUNDS = 20
# Where tensors come into a graph: handles of variables, and a batch.
_SOURCES = ("Const", "Placeholder", "Arg", "_Arg")
_CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2d")
_MATRIX_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "_FusedMatMul")


@dataclasses.dataclass(frozen=True)
class GraphCosts:
    """What one replica's forward and backward pass costs.

    Attributes:
        flops: 2 x multiply-adds of matrix products and convolutions.
        activation_bytes: forward tensors that the backward pass reads; what memory has to hold
            between. What is computed again there, not kept, is not among them.
        copy_bytes: those of them that no batch enters into, such as weights in half precision.
    """

    flops: float
    activation_bytes: int
    copy_bytes: int

    @property
    def own_bytes(self) -> int:
        """Activations that the batch enters into."""
        return self.activation_bytes - self.copy_bytes

    def kept_bytes(self, examples: int, num_parts: int) -> int:
        """What a device keeps for so many examples, of costs of one, where so many devices share
        what no batch enters into."""
        return examples * self.own_bytes + self.copy_bytes // num_parts


def count(function: Callable[..., Any], *arguments: Any) -> GraphCosts:
    """Traces `function` (forward and backward, no variable updates) and counts its graph.

    Args:
        function: Python function of tensors.
        arguments: tf.TensorSpec structures or tensors with static shapes.
    """
    graph = tf.function(function).get_concrete_function(*arguments).graph
    operations = list(_operations(graph, set()))
    flops = sum(_flops(operation) for operation in operations)
    backward, constant = _backward(operations), _constant(operations)
    kept: dict[tuple[int, str], int] = {}
    copies: dict[tuple[int, str], int] = {}
    for operation in operations:
        for tensor in operation.inputs if id(operation) in backward else ():
            if id(tensor.op) in backward or tensor.op.type in ("Const", "ReadVariableOp"):
                continue
            place = copies if id(tensor.op) in constant else kept
            place[id(tensor.graph), tensor.name] = _bytes(tensor)
    copy_bytes = sum(copies.values())
    return GraphCosts(flops, sum(kept.values()) + copy_bytes, copy_bytes)


def _backward(operations: Sequence[tf.Operation]) -> set[int]:
    """Operations by id that come after the first gradient of their graph: the way back, and what
    is computed again there. Not what only hands a tensor on, as results of the way forth are."""
    found: set[int] = set()
    begun: set[int] = set()
    for operation in operations:
        if "gradient_tape" in operation.name:
            begun.add(id(operation.graph))
        if id(operation.graph) in begun and operation.type != "Identity":
            found.add(id(operation))
    return found


def _constant(operations: Sequence[tf.Operation]) -> set[int]:
    """Operations by id that give the same whatever the batch is."""
    found: set[int] = set()
    for operation in operations:
        if operation.type in _SOURCES:
            is_constant = operation.outputs[0].dtype == tf.resource or operation.type == "Const"
        else:
            is_constant = "Random" not in operation.type and all(
                id(tensor.op) in found for tensor in operation.inputs
            )
        if is_constant:
            found.add(id(operation))
    return found


def _operations(graph: tf.Graph, seen: set[str]) -> Iterator[tf.Operation]:
    """Operations of a graph that its results need and, once each, of the functions it calls."""
    needed = _needed(graph)
    for operation in graph.get_operations():
        if id(operation) not in needed:
            continue
        yield operation
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            name = operation.get_attr("f").name
            inner = graph._get_function(name)
            if inner is not None and name not in seen and hasattr(inner, "graph"):
                yield from _operations(inner.graph, seen | {name})


def _needed(graph: tf.Graph) -> set[int]:
    """Operations by id that the results follow from; gradients that nobody asked a tape for are
    traced too, and never run."""
    found: set[int] = set()
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    while waiting:
        operation = waiting.pop()
        if id(operation) not in found:
            found.add(id(operation))
            waiting += [tensor.op for tensor in operation.inputs]
            waiting += operation.control_inputs
    return found


def _flops(operation: tf.Operation) -> float:
    if operation.type in _MATRIX_PRODUCTS:
        transposed = any(
            operation.get_attr(name)
            for name in ("transpose_a", "adj_x")
            if name in operation.node_def.attr
        )
        shape = operation.inputs[0].shape
        inner = shape[-2] if transposed else shape[-1]
        return 2.0 * _size(operation.outputs[0]) * (inner or 0)
    if operation.type == "Einsum":
        return _einsum_flops(operation)
    if operation.type.startswith(_CONVOLUTIONS):
        return _convolution_flops(operation)
    return 0.0


def _einsum_flops(operation: tf.Operation) -> float:
    """2 x product of the sizes of all labels, for products of two tensors."""
    equation = operation.get_attr("equation").decode().replace(" ", "").split("->")[0]
    operands = equation.split(",")
    if len(operands) < 2:
        return 0.0
    sizes: dict[str, int] = {}
    for labels, tensor in zip(operands, operation.inputs, strict=True):
        if "..." in labels:
            head, tail = labels.split("...")
            rank = tensor.shape.rank - len(head) - len(tail)
            labels = head + "".join(chr(0x100 + i) for i in range(rank)) + tail
        for label, size in zip(labels, tensor.shape, strict=True):
            sizes[label] = max(sizes.get(label, 1), size or 1)
    return 2.0 * math.prod(sizes.values())


def _convolution_flops(operation: tf.Operation) -> float:
    """Forward and both gradients cost the same: output positions x kernel size, channels last."""
    if "BackpropInput" in operation.type:
        kernel, image = operation.inputs[1], operation.inputs[2]
    elif "BackpropFilter" in operation.type:
        kernel, image = operation.outputs[0], operation.inputs[2]
    else:
        kernel, image = operation.inputs[1], operation.outputs[0]
    channels = image.shape[-1] or 1
    return 2.0 * _size(image) / channels * _size(kernel)


def _size(tensor: tf.Tensor) -> int:
    return math.prod(size or 1 for size in tensor.shape) if tensor.shape.rank is not None else 1


def _bytes(tensor: tf.Tensor) -> int:
    return _size(tensor) * tensor.dtype.size if tensor.dtype.size else 0


def measure_peak_flops_per_second(*, half_precision: bool, size: int = 1024) -> float:
    """Rate of a square matrix product on this process's first device: the yardstick of
    utilisation."""
    kind = tf.bfloat16 if half_precision else tf.float32
    matrix = tf.cast(np.linspace(-1.0, 1.0, size * size).reshape(size, size), kind)
    product = tf.function(lambda left: tf.reduce_sum(tf.matmul(left, left)))
    best = math.inf
    for _ in range(_PEAK_ROUNDS):
        start = time.perf_counter()
        product(matrix).numpy()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
