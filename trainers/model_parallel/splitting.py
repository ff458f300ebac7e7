"""Which variables of a run are split over the devices of a replica, decided as they are made."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mm_models.layers import logical_axes
from trainers.model_parallel import internals
from trainers.optimization.averages import average_name
from trainers.optimization.config import OptimizerConfig
from trainers.optimization.slot_shapes import slot_axes, slot_name
from trainers.planning.sharding import SPLIT_KINDS, split_axis

Shape = tuple[int, ...]


def split_weights(num_parts: int) -> contextlib.AbstractContextManager[None]:
    """Splits the weights of models built inside by the rules of trainers/planning/sharding.py.

    Args:
        num_parts: devices of a replica; 1: nothing is split.

    Raises:
        UserError: inside, for a weight without a rule, or an axis that does not divide.
    """

    def axis_of(name: str, shape: Shape) -> int | None:
        return split_axis(internals.path_of_new(name), shape, num_parts)

    return _splitting(axis_of, num_parts)


def split_like(
    weights: Mapping[str, Sequence[keras.Variable]],
    optimizers: Mapping[str, OptimizerConfig],
    num_parts: int,
) -> contextlib.AbstractContextManager[None]:
    """Splits slots and averages made inside as their weights are; a factored moment that lacks the
    split axis is whole.

    Args:
        weights: by name of the optimizer that may train them.
        optimizers: by name.
        num_parts: devices of a replica; 1: nothing is split.

    Raises:
        UserError: a weight without a rule, or an axis that does not divide.
    """
    axes: dict[str, int | None] = {}
    for name, members in weights.items() if num_parts > 1 else ():
        for weight in members:
            shape = tuple(weight.shape)
            axis = split_axis(weight.path, shape, num_parts)
            axes[average_name(weight.path)] = axis
            for kind, own in slot_axes(optimizers[name], shape).items():
                place = own.index(axis) if axis in own else None
                axes[slot_name(weight.path, kind)] = place
    # Counters, and what else is no weight's, are whole.
    return _splitting(lambda name, shape: axes.get(name), num_parts)


def split_activations(num_parts: int) -> contextlib.AbstractContextManager[None]:
    """Splits the activations of models traced inside where their layers say what an axis counts.

    Without it the partitioner would have to guess, and would cut the width of what passes between
    the layers, whose norms then wait for one another.

    Args:
        num_parts: devices of a replica; 1: nothing is split.
    """
    if num_parts == 1:
        return contextlib.nullcontext()

    def place(tensor: tf.Tensor, kind: str | None, axis: int | None) -> tf.Tensor:
        if axis is None or kind not in SPLIT_KINDS:
            return internals.replicate(tensor)
        return internals.split(tensor, axis, num_parts)

    return logical_axes.placing(place)


def _splitting(
    axis_of: Callable[[str, Shape], int | None], num_parts: int
) -> contextlib.AbstractContextManager[None]:
    if num_parts == 1:
        return contextlib.nullcontext()

    def create(next_creator: Callable[..., tf.Variable], **kwargs: Any) -> tf.Variable:
        return internals.create(next_creator, kwargs, axis_of, num_parts)

    return tf.variable_creator_scope(create)
