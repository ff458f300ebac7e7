"""Bytes that each device holds of a run's state."""

import dataclasses
import math

from trainers.planning.sharding import split_axis
from trainers.planning.weights import State, Weight

FLOAT_BYTES = 4


@dataclasses.dataclass(frozen=True)
class StateBytes:
    """Bytes of one device.

    Attributes:
        weights: float32, trained or not.
        slots: of the optimizers, counters included.
        gradients: one for each trained weight.
        averages: of the trained weights, where the experiment keeps some.
    """

    weights: int
    slots: int
    gradients: int
    averages: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.slots + self.gradients + self.averages


def state_bytes(state: State, num_parts: int = 1) -> StateBytes:
    """What one device holds where so many share a copy of the model.

    Slots, gradients and averages are split as their weights are; a factored moment that lacks the
    split axis is whole on every device.

    Raises:
        UserError: a weight without a rule, or an axis that does not divide.
    """
    weights = slots = trained = 0
    for weight in state.weights:
        axis = split_axis(weight.path, weight.shape, num_parts) if num_parts > 1 else None
        every = tuple(range(len(weight.shape)))
        own = _entries(weight, every, axis, num_parts)
        weights += own
        if weight.path in state.slots:
            trained += own
            slots += sum(
                _entries(weight, axes, axis, num_parts) for axes in state.slots[weight.path]
            )
    return StateBytes(
        weights=FLOAT_BYTES * weights,
        slots=FLOAT_BYTES * slots + state.counter_bytes,
        gradients=FLOAT_BYTES * trained,
        averages=FLOAT_BYTES * trained if state.averaged else 0,
    )


def _entries(weight: Weight, axes: tuple[int, ...], split: int | None, num_parts: int) -> int:
    size = math.prod(weight.shape[axis] for axis in axes)
    return size // num_parts if split in axes else size
